"""All SQL of the api. Functions take checked parameters and return rows as plain structs; documents stay raw JSON.

Every list is read by keyset: the order's columns are compared as one row, so a page costs the same wherever it is and an
insert in between neither repeats nor hides an item.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from sqlalchemy import ColumnElement, Row, Select, and_, any_, cast, func, literal, literal_column, or_, select, tuple_
from sqlalchemy import Text as SqlText
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.db.people import Handling as HandlingRow
from schemas.db.tables import (
    KEY_CHARACTERS,
    Account,
    AccountHealth,
    Episode,
    QueueEntry,
    TimelineEntry,
    Transition,
    UsageDay,
)
from schemas.health import Windows
from schemas.lifecycle import Handling, Status, shown
from services.api import cursors, handled
from services.api.handled import among
from services.api.parameters import AccountFilter, SignalFilter, SignalsOfAccount, TimelineFilter
from services.common.words import words

OPEN_SHOWN: Final = 200
FEW_MATCHES: Final = 1000
KEPT_STATEMENTS: Final = 32
"""So many forms of a statement are kept as they were built: to build one again takes longer than to run it."""

type Query = Select[*tuple[Any, ...]]
type Found = Row[*tuple[Any, ...]]


class HealthPart(Struct):
    """What of a health record the lists show."""

    as_of: dt.datetime
    windows: Windows
    profile: Raw
    score: float | None = None
    band: str | None = None
    coverage: float = 0.0
    first_event_at: dt.datetime | None = None
    inputs_seen: list[str] = []


class AccountRecord(Struct):
    """One account: its listed columns and its health, decoded in part and whole."""

    account_id: str
    name: str | None
    tier: str | None
    csm: str | None
    mrr: Decimal | None
    currency: str | None
    renewal_date: dt.date | None
    churned: bool
    health: HealthPart
    body: str


class SignalData(Struct):
    """What of the last transition a signal shows."""

    reason: str
    evidence: Raw
    action: Raw
    account: dict[str, Any]
    about: str | None = None


class SignalDocument(Struct):
    """The last transition, in part."""

    data: SignalData


class SignalRecord(Struct):
    """One episode with its last transition, and what people said of it; `status` is of `now`.

    `account` is how the account is now, None when it is not known.
    """

    episode: Found
    last: SignalData
    account: Found | None
    handling: Handling
    status: Status
    now: dt.datetime


_health: Final = msgspec.json.Decoder(HealthPart).decode
_last: Final = msgspec.json.Decoder(SignalDocument).decode

# --- accounts ------------------------------------------------------------------------------------------------------

# The expressions stand in indexes, and are only found there if they are written with the same constants. Python's last
# and first days are not among these: the driver takes them for infinity.
ORDERS: Final[dict[str, tuple[ColumnElement[Any], type[cursors.Place]]]] = {
    "name": (Account.sort_name.expression, cursors.ByText),
    "mrr": (literal_column("coalesce(accounts.mrr, '-1'::numeric)"), cursors.ByNumber),
    "renewal_date": (literal_column("coalesce(accounts.renewal_date, '9999-01-01'::date)"), cursors.ByDate),
    "last_seen": (
        literal_column("coalesce(account_health.last_seen, '0001-01-02 00:00:00+00'::timestamptz)"),
        cursors.ByInstant,
    ),
}


def _accounts() -> Query:
    return select(
        Account.account_id,
        Account.name,
        Account.tier,
        Account.csm,
        Account.mrr,
        Account.currency,
        Account.renewal_date,
        Account.churned,
        cast(AccountHealth.body, SqlText).label("body"),
    ).join(AccountHealth, AccountHealth.account_id == Account.account_id)


def _account(row: Found) -> AccountRecord:
    return AccountRecord(
        account_id=row.account_id,
        name=row.name,
        tier=row.tier,
        csm=row.csm,
        mrr=row.mrr,
        currency=row.currency,
        renewal_date=row.renewal_date,
        churned=row.churned,
        health=_health(row.body),
        body=row.body,
    )


async def accounts(connection: AsyncConnection, wanted: AccountFilter) -> tuple[list[AccountRecord], str | None]:
    """One page of accounts and the cursor of the next one. Raises a 400 problem for a cursor that is none."""
    name = wanted.sort.removeprefix("-")
    falling = wanted.sort.startswith("-")
    order, place = ORDERS[name]
    statement = _accounts().add_columns(order.label("order"))
    if wanted.tier is not None:
        statement = statement.where(Account.tier == wanted.tier)
    if wanted.csm is not None:
        statement = statement.where(Account.csm == wanted.csm[:KEY_CHARACTERS])
    if wanted.q is not None:
        asked = words(wanted.q)
        if not asked:
            return [], None
        # Words hold letters and digits only, so nothing in them can be taken for an operator.
        query = " & ".join(f"'{word}':*" for word in asked)
        matches = Account.words.op("@@")(cast(literal(query), TSQUERY))
        few = await _few_matches(connection, matches)
        statement = statement.where(matches if few is None else Account.account_id == any_(few))
    keys = tuple_(order, Account.account_id)
    if wanted.cursor is not None:
        after: Any = cursors.decode(wanted.cursor, place, wanted.sort)
        last = tuple_(literal(after.value), literal(after.account_id))
        statement = statement.where(keys < last if falling else keys > last)
    directions = [order.desc(), Account.account_id.desc()] if falling else [order.asc(), Account.account_id.asc()]
    rows = (await connection.execute(statement.order_by(*directions).limit(wanted.limit + 1))).all()
    found = [_account(row) for row in rows[: wanted.limit]]
    cursor = None
    if len(rows) > wanted.limit:
        make: Any = place
        end = rows[wanted.limit - 1]
        cursor = cursors.encode(make(wanted.sort, end.order, end.account_id))
    return found, cursor


async def _few_matches(connection: AsyncConnection, matches: ColumnElement[bool]) -> ColumnElement[Any] | None:
    """The accounts that match a search, None where they are many.

    Many are soon met on the way along the order; to look for few along it would read every account. The planner cannot
    tell: words that never stand together are expected as often as chance would have it.
    """
    # Materialized: planned as a search for all matches, however few of them are taken.
    found = select(Account.account_id).where(matches).cte("matching").prefix_with("MATERIALIZED")
    ids = list((await connection.execute(select(found.c.account_id).limit(FEW_MATCHES + 1))).scalars())
    return None if len(ids) > FEW_MATCHES else cast(literal(ids, ARRAY(SqlText)), ARRAY(SqlText))


async def account(connection: AsyncConnection, account_id: str) -> AccountRecord | None:
    """One account, or None."""
    row = (await connection.execute(_accounts().where(Account.account_id == account_id))).one_or_none()
    return None if row is None else _account(row)


async def accounts_by_id(connection: AsyncConnection, account_ids: Sequence[str]) -> dict[str, AccountRecord]:
    """These accounts, without those that are not recorded."""
    rows = await connection.execute(_accounts_among(), {"accounts": list(account_ids)})
    return {row.account_id: _account(row) for row in rows}


@cache
def _accounts_among() -> Query:
    return _accounts().where(Account.account_id == handled.among_given("accounts"))


async def health(connection: AsyncConnection, account_id: str) -> str | None:
    """The latest health record of an account as JSON text, or None."""
    statement = select(cast(AccountHealth.body, SqlText)).where(AccountHealth.account_id == account_id)
    found: str | None = (await connection.execute(statement)).scalar_one_or_none()
    return found


async def open_counts(connection: AsyncConnection, account_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Of each account: how many risks are open by severity, and how many opportunities."""
    group = func.coalesce(func.nullif(Episode.kind, "risk"), Episode.severity)
    statement = (
        select(Episode.account_id, group, func.count())
        .where(Episode.account_id.in_(account_ids), Episode.cleared_at.is_(None))
        .group_by(Episode.account_id, group)
    )
    counts = {key: {"critical": 0, "warning": 0, "info": 0, "opportunity": 0} for key in account_ids}
    for account_id, name, count in await connection.execute(statement):
        counts[account_id][name] = count
    return counts


async def usage(connection: AsyncConnection, account_id: str, first: dt.date, last: dt.date) -> dict[dt.date, Found]:
    """The days from `first` to `last`, both included, that have usage."""
    statement = select(UsageDay.day, UsageDay.usage, UsageDay.core).where(
        UsageDay.account_id == account_id, UsageDay.day.between(first, last)
    )
    return {row.day: row for row in await connection.execute(statement)}


async def timeline(
    connection: AsyncConnection, account_id: str, wanted: TimelineFilter
) -> tuple[list[Found], str | None]:
    """One page of an account's history, newest first: time, entry, type, source, event_id, data (JSON text)."""
    statement: Query = select(
        TimelineEntry.time,
        TimelineEntry.entry,
        TimelineEntry.type,
        TimelineEntry.source,
        TimelineEntry.event_id,
        cast(TimelineEntry.data, SqlText).label("data"),
    ).where(TimelineEntry.account_id == account_id)
    if wanted.type is not None:
        within = TimelineEntry.type.startswith(wanted.type + ".", autoescape=True)
        statement = statement.where(or_(TimelineEntry.type == wanted.type, within))
    statement = _between(statement, TimelineEntry.time.expression, wanted.since, wanted.until)
    if wanted.cursor is not None:
        after = cursors.decode(wanted.cursor, cursors.ByTime, "timeline")
        place = tuple_(literal(after.time), literal(bytes.fromhex(_even(after.entry))))
        statement = statement.where(tuple_(TimelineEntry.time, TimelineEntry.entry) < place)
    statement = statement.order_by(TimelineEntry.time.desc(), TimelineEntry.entry.desc()).limit(wanted.limit + 1)
    rows = list((await connection.execute(statement)).all())
    cursor = None
    if len(rows) > wanted.limit:
        end = rows[wanted.limit - 1]
        cursor = cursors.encode(cursors.ByTime("timeline", end.time, end.entry.hex()))
    return rows[: wanted.limit], cursor


async def newest_events(connection: AsyncConnection, account_id: str, types: Sequence[str], most: int) -> list[Found]:
    """The newest events of these types, newest first: time, type, data (JSON text)."""
    statement = (
        select(TimelineEntry.time, TimelineEntry.type, cast(TimelineEntry.data, SqlText).label("data"))
        .where(TimelineEntry.account_id == account_id, TimelineEntry.type == among(types))
        .order_by(TimelineEntry.time.desc(), TimelineEntry.entry.desc())
        .limit(most)
    )
    return list(await connection.execute(statement))


def _even(digits: str) -> str:
    return digits if len(digits) % 2 == 0 else digits + "0"


# --- signals -------------------------------------------------------------------------------------------------------

ACCOUNT_COLUMNS: Final = (
    Account.name.label("account_name"),
    Account.tier.label("account_tier"),
    Account.csm.label("account_csm"),
    Account.mrr,
    Account.currency,
    Account.renewal_date,
    Account.account_id.label("known_account"),
)


def _signals() -> Query:
    return (
        select(
            *Episode.__table__.columns, cast(Transition.body, SqlText).label("body"), *ACCOUNT_COLUMNS, *handled.COLUMNS
        )
        .join(
            Transition,
            and_(Transition.episode_id == Episode.episode_id, Transition.ordinal == Episode.last_ordinal),
        )
        .outerjoin(HandlingRow, HandlingRow.episode_id == Episode.episode_id)
        .outerjoin(Account, Account.account_id == Episode.account_id)
    )


def _signal(row: Found, *, account: bool = True) -> SignalRecord:
    handling = handled.handling_of(row)
    return SignalRecord(
        episode=row,
        last=_last(row.body).data,
        account=row if account and row.known_account is not None else None,
        handling=handling,
        status=shown(cleared=row.cleared_at is not None, ordinal=row.last_ordinal, handling=handling, now=row.now),
        now=row.now,
    )


def _signals_alone() -> Query:
    """What signals say, where their accounts are read apart."""
    told = (Episode.signal, Episode.kind, Episode.severity, Episode.scope, Episode.user, Episode.opened_at)
    stands = (Episode.cleared_at, Episode.last_ordinal, *handled.COLUMNS)
    body = cast(Transition.body, SqlText).label("body")
    return (
        select(Episode.episode_id, Episode.account_id, *told, *stands, body)
        .join(
            Transition,
            and_(Transition.episode_id == Episode.episode_id, Transition.ordinal == Episode.last_ordinal),
        )
        .outerjoin(HandlingRow, HandlingRow.episode_id == Episode.episode_id)
    )


def _signal_alone(row: Found) -> SignalRecord:
    return _signal(row, account=False)


def _between(
    statement: Query, column: ColumnElement[Any], since: dt.datetime | None, until: dt.datetime | None
) -> Query:
    if since is not None:
        statement = statement.where(column >= since)
    if until is not None:
        statement = statement.where(column < until)
    return statement


async def signals(
    connection: AsyncConnection,
    wanted: SignalFilter | SignalsOfAccount,
    account_id: str | None = None,
    *,
    me: str = "",
) -> tuple[list[SignalRecord], str | None]:
    """One page of episodes, newest `opened_at` first, and the cursor of the next page. `me`: who asks."""
    statement = _signals()
    if isinstance(wanted, SignalFilter):
        account_id = wanted.account
        if wanted.tier is not None:
            statement = statement.where(Episode.tier == wanted.tier)
        if wanted.csm is not None:
            statement = statement.where(Episode.csm == wanted.csm[:KEY_CHARACTERS])
        if wanted.assignee is not None:
            statement = statement.where(handled.of_assignee(handled.person(wanted.assignee, me)))
        if wanted.owner is not None:
            owner = await handled.owner(connection, handled.person(wanted.owner, me))
            statement = statement.where(handled.of_owner(owner))
    if account_id is not None:
        statement = statement.where(Episode.account_id == account_id)
    if wanted.kind is not None:
        statement = statement.where(Episode.kind == wanted.kind)
    if wanted.severity is not None:
        statement = statement.where(Episode.severity == wanted.severity)
    if wanted.signal is not None:
        statement = statement.where(Episode.signal == wanted.signal)
    statement = _between(statement, Episode.opened_at.expression, wanted.since, wanted.until)
    if wanted.cursor is not None:
        after = cursors.decode(wanted.cursor, cursors.ByOpened, "opened_at")
        place = tuple_(literal(after.opened_at), literal(after.episode_id))
        statement = statement.where(tuple_(Episode.opened_at, Episode.episode_id) < place)
    statement = statement.order_by(Episode.opened_at.desc(), Episode.episode_id.desc()).limit(wanted.limit + 1)
    rows: list[Found] = []
    for conditions in handled.of_status(wanted.status):
        rows += await connection.execute(statement.where(*conditions))
    rows.sort(key=lambda row: (row.opened_at, row.episode_id), reverse=True)
    cursor = None
    if len(rows) > wanted.limit:
        end = rows[wanted.limit - 1]
        cursor = cursors.encode(cursors.ByOpened("opened_at", end.opened_at, end.episode_id))
    return [_signal(row) for row in rows[: wanted.limit]], cursor


async def open_signals(connection: AsyncConnection, account_id: str) -> list[SignalRecord]:
    """The open signals of an account, newest first, `OPEN_SHOWN` at most."""
    statement = (
        _signals()
        .where(Episode.account_id == account_id, Episode.cleared_at.is_(None))
        .order_by(Episode.opened_at.desc(), Episode.episode_id.desc())
        .limit(OPEN_SHOWN)
    )
    return [_signal(row) for row in await connection.execute(statement)]


async def signal(connection: AsyncConnection, episode_id: str) -> SignalRecord | None:
    """One episode, or None."""
    row = (await connection.execute(_signals().where(Episode.episode_id == episode_id))).one_or_none()
    return None if row is None else _signal(row)


async def ranked_signals(
    connection: AsyncConnection,
    account_ids: Sequence[str],
    most: int,
    statuses: frozenset[Status] = handled.UNCLEARED,
) -> list[tuple[SignalRecord, Decimal]]:
    """The signals of each of these accounts that stand so, with their ranks, highest rank first, so many of each."""
    rows = await connection.execute(_ranked(most, statuses), {"accounts": list(account_ids)})
    return [(_signal_alone(row), row.rank) for row in rows]


@lru_cache(maxsize=KEPT_STATEMENTS)
def _ranked(most: int, statuses: frozenset[Status]) -> Query:
    place = func.row_number().over(
        partition_by=QueueEntry.account_id, order_by=(QueueEntry.rank.desc(), QueueEntry.episode_id.desc())
    )
    of_accounts = QueueEntry.account_id == handled.among_given("accounts")
    ranked = (
        select(QueueEntry.episode_id, QueueEntry.rank, place.label("place"))
        .where(of_accounts, *handled.queued_of_status(QueueEntry, statuses))
        .subquery()
    )
    return (
        _signals_alone()
        .add_columns(ranked.c.rank)
        .join(ranked, ranked.c.episode_id == Episode.episode_id)
        .where(ranked.c.place <= most)
        .order_by(ranked.c.rank.desc(), Episode.episode_id.desc())
    )


async def signals_by_id(connection: AsyncConnection, episode_ids: Sequence[str]) -> dict[str, SignalRecord]:
    """These episodes, by their ids."""
    rows = await connection.execute(_signals_alone().where(Episode.episode_id == among(episode_ids)))
    return {row.episode_id: _signal_alone(row) for row in rows}


async def transitions(connection: AsyncConnection, episode_id: str) -> list[str]:
    """The transitions of an episode in their order, each as the JSON text that was published."""
    statement = (
        select(cast(Transition.body, SqlText)).where(Transition.episode_id == episode_id).order_by(Transition.ordinal)
    )
    return list((await connection.execute(statement)).scalars())
