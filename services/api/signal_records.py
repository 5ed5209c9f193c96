"""What each signal came to in use: how many are open and were raised, and what people said of those they closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.api.database import answering

FRESH_S: Final = 60.0
DAYS: Final = 90
MOST: Final = 1000
"""Counted so far and no further: it is an index that is read, and not a million rows of it."""
CLOSED_MOST: Final = 100_000

COUNTS: Final = text(
    "SELECT wanted.signal, open.n AS open, raised.n AS raised FROM unnest(CAST(:signals AS text[])) AS wanted(signal),"
    " LATERAL (SELECT count(*) AS n FROM (SELECT FROM episodes WHERE signal = wanted.signal AND cleared_at IS NULL"
    " LIMIT :most) AS capped) AS open,"
    " LATERAL (SELECT count(*) AS n FROM (SELECT FROM episodes WHERE signal = wanted.signal"
    " AND opened_at >= now() - make_interval(days => :days) LIMIT :most) AS capped) AS raised"
)
OUTCOMES: Final = text(
    "SELECT episodes.signal, closed.outcome, count(*) AS n FROM (SELECT episode_id, outcome FROM handlings"
    " WHERE closed_at >= now() - make_interval(days => :days) AND outcome IS NOT NULL LIMIT :closed_most) AS closed"
    " JOIN episodes USING (episode_id) GROUP BY episodes.signal, closed.outcome"
)


class Record(Struct, frozen=True):
    """One signal in use. `open` and `raised` stop at `MOST`; `outcomes` counts what was closed in the last days."""

    open: int = 0
    raised: int = 0
    outcomes: dict[str, int] = {}

    @property
    def closed(self) -> int:
        """How many people closed with an outcome."""
        return sum(self.outcomes.values())

    def share(self, *outcomes: str) -> float | None:
        """The part of what was closed with one of these outcomes; None where nothing was."""
        return sum(self.outcomes.get(name, 0) for name in outcomes) / self.closed if self.closed else None


class SignalRecords:
    """Reads the records of all signals at most once a minute."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._known: dict[str, Record] = {}
        self._until = float("-inf")
        self._lock = asyncio.Lock()

    async def read(self, signals: Iterable[str]) -> dict[str, Record]:
        """The record of each. Raises Problem 503 where the database is away."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._known = await self._read(sorted(signals))
                self._until = time.monotonic() + FRESH_S
            return self._known

    async def _read(self, signals: list[str]) -> dict[str, Record]:
        with answering():
            async with self._engine.connect() as connection:
                counts = await connection.execute(COUNTS, {"signals": signals, "most": MOST, "days": DAYS})
                closed = await connection.execute(OUTCOMES, {"days": DAYS, "closed_most": CLOSED_MOST})
                outcomes: dict[str, dict[str, int]] = {}
                for signal, outcome, count in closed:
                    outcomes.setdefault(signal, {})[outcome] = count
                return {row.signal: Record(row.open, row.raised, outcomes.get(row.signal, {})) for row in counts}
