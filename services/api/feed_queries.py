"""The feed as it is read: entries in the order of their ids, which is the order in which they were committed."""

from __future__ import annotations

import datetime as dt

from msgspec import Struct
from sqlalchemy import Text, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.db.feed import FeedEntry


class Entry(Struct, frozen=True):
    """One transition or act. `body` is its CloudEvent as JSON text."""

    id: int
    type: str
    account_id: str
    episode_id: str
    signal: str
    kind: str
    severity: str
    tier: str | None
    csm: str | None
    body: str


class Bounds(Struct, frozen=True):
    """What is kept. `oldest` is None where nothing is; `newest` is the last entry that was committed, 0 for none.

    `given` is the last id that was ever given out, whether its entry was committed, is kept, or neither.
    """

    oldest: int | None
    since: dt.datetime | None
    newest: int
    given: int


_COLUMNS = (
    FeedEntry.id,
    FeedEntry.type,
    FeedEntry.account_id,
    FeedEntry.episode_id,
    FeedEntry.signal,
    FeedEntry.kind,
    FeedEntry.severity,
    FeedEntry.tier,
    FeedEntry.csm,
    cast(FeedEntry.body, Text),
)


async def after(engine: AsyncEngine, position: int, most: int) -> list[Entry]:
    """The first entries after an id, at most so many, in their order."""
    statement = select(*_COLUMNS).where(FeedEntry.id > position).order_by(FeedEntry.id).limit(most)
    async with engine.connect() as connection:
        return [Entry(*tuple(row)) for row in await connection.execute(statement)]


async def bounds(engine: AsyncEngine) -> Bounds:
    """What the feed holds now."""
    first = select(FeedEntry.id, FeedEntry.at).order_by(FeedEntry.id).limit(1)
    newest = select(func.coalesce(func.max(FeedEntry.id), 0))
    given = text("SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('feed', 'id')::regclass), 0)")
    async with engine.connect() as connection:
        # The sequence last: it then knows of every id that the others saw.
        oldest = (await connection.execute(first)).one_or_none()
        last = (await connection.execute(newest)).scalar_one()
        known = (await connection.execute(given)).scalar_one()
    return Bounds(oldest.id if oldest else None, oldest.at if oldest else None, last, known)
