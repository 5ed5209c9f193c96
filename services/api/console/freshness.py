"""How old the facts on a page are: what every page says in its top bar, and the bar of words when it is too old."""

from __future__ import annotations

import datetime as dt
import time
from typing import Final

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.db import UNREACHABLE
from services.common.problems import unavailable

TRUSTED_S: Final = 5.0
BEHIND: Final = dt.timedelta(minutes=15)
SILENT: Final = dt.timedelta(minutes=2)

STATEMENT: Final = text(
    "SELECT (SELECT max(as_of) FROM latest_scores) AS as_of,"
    " (SELECT max(updated_at) FROM recorder_offsets) AS recorded_at,"
    " (SELECT count(*) FROM (SELECT FROM accounts LIMIT 1) AS any_account) > 0 AS accounts,"
    " (SELECT json_agg(json_build_array(source, (state->>'last')::bigint) ORDER BY source) FROM"
    " (SELECT DISTINCT ON (source) source, state FROM source_feeds WHERE (state->>'stale')::boolean"
    " ORDER BY source, (state->>'last')::bigint LIMIT 20) AS stale) AS stale"
)


class Quiet(Struct, frozen=True):
    """A source that stopped sending, and when it last did: what it does not say is not judged."""

    source: str
    since: dt.datetime


class Freshness(Struct, frozen=True):
    """`as_of` is the time of the newest judged fact, None before the first; `recorded_at` when anything was recorded."""

    now: dt.datetime
    as_of: dt.datetime | None
    recorded_at: dt.datetime | None
    accounts: bool
    quiet: tuple[Quiet, ...]

    @property
    def lag_s(self) -> float | None:
        """How far the newest judged fact is behind the clock, in seconds."""
        return None if self.as_of is None else max(0.0, (self.now - self.as_of).total_seconds())

    @property
    def stopped(self) -> bool:
        """Whether nothing is recorded any more: the clock's ticks alone make a record every few seconds."""
        return self.recorded_at is not None and self.now - self.recorded_at > SILENT

    @property
    def behind(self) -> bool:
        """Whether the facts are so old that a page has to say so in words."""
        return self.as_of is not None and self.now - self.as_of > BEHIND

    @property
    def stale(self) -> bool:
        """Whether "nothing open" must not be read as "all is well"."""
        return self.stopped or self.behind or bool(self.quiet)


class FreshnessReader:
    """Reads it at most once in `TRUSTED_S`: it is the same for every page."""

    def __init__(self) -> None:
        self._known: Freshness | None = None
        self._until = float("-inf")

    async def read(self, engine: AsyncEngine, now: dt.datetime) -> Freshness:
        """How old the facts are at `now`. Raises a 503 problem where the database is away."""
        if self._known is None or time.monotonic() >= self._until:
            try:
                async with engine.connect() as connection:
                    row = (await connection.execute(STATEMENT)).one()
            except UNREACHABLE as error:
                raise unavailable("the database does not answer; try again") from error
            quiet = tuple(Quiet(source, _instant(last)) for source, last in row.stale or ())
            self._known = Freshness(now, row.as_of, row.recorded_at, row.accounts, quiet)
            self._until = time.monotonic() + TRUSTED_S
        known = self._known
        return Freshness(now, known.as_of, known.recorded_at, known.accounts, known.quiet)


def _instant(microseconds: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)
