"""Since when signals are judged by a catalogue: every transition names the one that was in force.

Nobody keeps when a catalogue came into force. What was raised last says it as far as it reaches.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.api.database import answering

FRESH_S: Final = 60.0
READ_MOST: Final = 1000

# Read as text: a reason may hold what `json` refuses. A quote within one is escaped, so that it cannot be taken for this.
RAISED: Final = text(
    """
    SELECT t.appended_at, substring(t.body::text FROM '"catalogue" *: *"([^"]*)"') AS digest
    FROM (
      SELECT episode_id FROM episodes WHERE NOT historical ORDER BY opened_at DESC, episode_id DESC LIMIT :most
    ) e JOIN transitions t ON t.episode_id = e.episode_id AND t.ordinal = 1 ORDER BY t.appended_at DESC
    """
)


class Since(Struct, frozen=True):
    """The first of `read` signals that was judged by a catalogue. `whole`: one before it was judged by another.

    `first_at` is None where none of them was.
    """

    first_at: dt.datetime | None
    whole: bool
    read: int


def since(raised: Iterable[tuple[dt.datetime, str | None]], digest: str) -> Since:
    """From when each was raised and by which catalogue, newest first. What other workers still judged meanwhile counts not."""
    known = list(raised)
    of_this = [at for at, by in known if by == digest]
    if not of_this:
        return Since(None, False, len(known))
    first = of_this[-1]
    return Since(first, any(at < first for at, _ in known), len(known))


class JudgedBy:
    """Reads it at most once a minute."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._known = Since(None, False, 0)
        self._until = float("-inf")
        self._lock = asyncio.Lock()

    async def read(self, digest: str) -> Since:
        """Since when signals are judged by this catalogue. Raises Problem 503 where the database is away."""
        async with self._lock:
            if time.monotonic() >= self._until:
                with answering():
                    async with self._engine.connect() as connection:
                        rows = await connection.execute(RAISED, {"most": READ_MOST})
                        self._known = since([(row.appended_at, row.digest) for row in rows], digest)
                self._until = time.monotonic() + FRESH_S
            return self._known
