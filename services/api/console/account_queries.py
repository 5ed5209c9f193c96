"""What the account page reads beyond what the api's answers do: parts of past scores, and history with acts in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Text, and_, cast, func, literal, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.db.people import Act as ActRow
from schemas.db.tables import Episode, HealthParts, TimelineEntry, UsageDay
from services.api import cursors
from services.api.console.account import NEWEST_D, OLDEST_D, PartsThen
from services.api.console.charts import Held
from services.api.lifecycle import Act

Show = Literal["all", "tickets", "invoices", "surveys", "touches", "acts"]
SHOWS: Final[dict[Show, str | None]] = {
    "all": None,
    "tickets": "ticket.",
    "invoices": "invoice.",
    "surveys": "survey.",
    "touches": "touchpoint.",
    "acts": None,
}
"""What of the history is shown, and how the types of its events begin."""
PAGE: Final = 25
NEAREST: Final = 3
"""The day itself and its neighbours: a day's score may be in the record of the day after."""

_decode: Final = msgspec.json.decode


class Entry(Struct, frozen=True):
    """One entry of the history: an event as it was sent, or an act (`act` and its episode are given then)."""

    time: dt.datetime
    what: str
    data: dict[str, Any]
    by: str
    key: str
    act: Act | None = None
    episode_id: str = ""
    signal: str = ""


class _Place(cursors.Place, frozen=True):
    """The last entry of a page: its instant, whether it is an act, and its key."""

    time: cursors.Instant
    act: bool
    key: cursors.Id


async def parts_of(connection: AsyncConnection, account_id: str, wanted: dt.date, today: dt.date) -> list[PartsThen]:
    """What the account's scores were made of on the kept days nearest to one, of those that are not too old or too new."""
    oldest, newest = (today - dt.timedelta(days=days) for days in (OLDEST_D, NEWEST_D))
    statement = (
        select(HealthParts.day, HealthParts.parts)
        .where(HealthParts.account_id == account_id, HealthParts.day.between(oldest, newest))
        .order_by(func.abs(HealthParts.day - wanted), HealthParts.day)
        .limit(NEAREST)
    )
    rows = (await connection.execute(statement)).all()
    return [PartsThen(row.day, [None if tenths < 0 else tenths / 10 for tenths in row.parts]) for row in rows]


async def history(
    connection: AsyncConnection, account_id: str, show: Show, cursor: str | None
) -> tuple[list[Entry], str | None]:
    """One page of the history, newest first, acts before events of the same instant; and the cursor of the next."""
    after = None if cursor is None else cursors.decode(cursor, _Place, f"history.{show}")
    found: list[Entry] = []
    if show != "acts":
        found += await _events(connection, account_id, SHOWS[show], after)
    if show in ("all", "acts"):
        found += await _acts(connection, account_id, after)
    found.sort(key=lambda entry: (entry.time, entry.act is not None, entry.key), reverse=True)
    page, rest = found[:PAGE], found[PAGE:]
    onward = None
    if rest:
        last = page[-1]
        onward = cursors.encode(_Place(f"history.{show}", last.time, last.act is not None, last.key))
    return page, onward


async def _events(
    connection: AsyncConnection, account_id: str, prefix: str | None, after: _Place | None
) -> list[Entry]:
    columns = (TimelineEntry.time, TimelineEntry.entry, TimelineEntry.type, TimelineEntry.source)
    statement = select(*columns, cast(TimelineEntry.data, Text).label("data")).where(
        TimelineEntry.account_id == account_id
    )
    if prefix is not None:
        statement = statement.where(TimelineEntry.type.startswith(prefix, autoescape=True))
    if after is not None and after.act:
        statement = statement.where(TimelineEntry.time <= after.time)
    elif after is not None:
        place = tuple_(literal(after.time), literal(_digest(after.key)))
        statement = statement.where(tuple_(TimelineEntry.time, TimelineEntry.entry) < place)
    statement = statement.order_by(TimelineEntry.time.desc(), TimelineEntry.entry.desc()).limit(PAGE + 1)
    return [
        Entry(row.time, row.type, _decode(row.data), row.source, row.entry.hex())
        for row in await connection.execute(statement)
    ]


async def _acts(connection: AsyncConnection, account_id: str, after: _Place | None) -> list[Entry]:
    # Collated as the episode's id is, "C": in the order in which the keys are sorted here.
    key = ActRow.episode_id + literal(":v") + cast(ActRow.version, Text)
    columns = (ActRow.episode_id, ActRow.version, ActRow.act, ActRow.actor, ActRow.at, ActRow.severity, ActRow.ordinal)
    statement = (
        select(*columns, ActRow.data, ActRow.undoes, key.label("key"), Episode.signal)
        .join(Episode, Episode.episode_id == ActRow.episode_id)
        .where(ActRow.account_id == account_id)
    )
    if after is not None:
        before = ActRow.at < after.time
        same = and_(ActRow.at == after.time, key < after.key)
        statement = statement.where(or_(before, same) if after.act else before)
    statement = statement.order_by(ActRow.at.desc(), key.desc()).limit(PAGE + 1)
    return [
        Entry(
            row.at,
            row.act,
            {},
            row.actor,
            row.key,
            act=Act(
                version=row.version,
                act=row.act,
                actor=row.actor,
                at=row.at,
                severity=row.severity,
                ordinal=row.ordinal,
                data=row.data,
                undoes=row.undoes,
            ),
            episode_id=row.episode_id,
            signal=row.signal,
        )
        for row in await connection.execute(statement)
    ]


def _digest(key: str) -> bytes:
    try:
        return bytes.fromhex(key)
    except ValueError:
        return b""


async def held(connection: AsyncConnection, topic: str, today: dt.date) -> list[Held]:
    """Since when sources of a topic are silent: what is missing since then is not known to be nothing."""
    statement = text(
        "SELECT min((state->>'last')::bigint) AS last FROM source_feeds"
        " WHERE topic = :topic AND (state->>'stale')::boolean"
    )
    last = (await connection.execute(statement, {"topic": topic})).scalar_one_or_none()
    if last is None:
        return []
    first = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=last)).date() + dt.timedelta(days=1)
    return [Held(first, today)] if first <= today else []


class Used(Struct, frozen=True):
    """Uses, and core uses, by day, without the days that have none; the days that what came late has changed."""

    uses: dict[dt.date, int]
    core: dict[dt.date, int]
    revised: frozenset[dt.date]


async def usage(connection: AsyncConnection, account_id: str, first: dt.date, last: dt.date) -> Used:
    """The use of an account from one day to another, both included."""
    statement = select(UsageDay.day, UsageDay.usage, UsageDay.core, UsageDay.revised_at).where(
        UsageDay.account_id == account_id, UsageDay.day.between(first, last)
    )
    rows: Sequence[Any] = (await connection.execute(statement)).all()
    return Used(
        uses={row.day: row.usage for row in rows},
        core={row.day: row.core for row in rows},
        revised=frozenset(row.day for row in rows if row.revised_at is not None),
    )
