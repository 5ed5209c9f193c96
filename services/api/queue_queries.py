"""SQL of the queue and the saved views: which accounts, in which order, page by page.

The order stands in `queue_entries`, where the recorder keeps the rank of every open signal; a page is read along an
index. An account is listed where its highest signal that matches stands, so it appears once whatever else is open.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Select, Text, and_, bindparam, cast, func, literal, or_, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from schemas.db.lifecycle import shown
from schemas.db.people import Handling as HandlingRow
from schemas.db.tables import KEY_CHARACTERS, Account, Episode, HealthDay, QueueEntry, Release, Standing
from schemas.lifecycle import Status
from schemas.priority import Judged
from services.api import cursors, handled
from services.api.handled import Owner, among
from services.api.parameters import HIDDEN, QUEUED, RenewalWindow
from services.common.problems import FieldError, bad_parameter

FIRST_IN_PAGES: Final = ("rank", "account_id", "episode_id")
ENTRIES_READ: Final = 4
"""How many open signals are read at once for each account that is wanted: few accounts have more."""
COUNTED_MOST: Final = 1000
KEPT_STATEMENTS: Final = 128
"""So many forms of a statement are kept as they were built: to build one again takes longer than to run it."""


class Wanted(Struct, frozen=True, kw_only=True):
    """Which signals a list is about. Empty `signals` means all. `some_first`: by precedence before rank.

    `assigned`: only those of `assignee`, who is nobody when None.
    """

    signals: tuple[str, ...] = ()
    kind: str | None = None
    severity: str | None = None
    family: str | None = None
    by_account: bool = True
    some_first: bool = False
    statuses: frozenset[Status] = handled.WORK
    assigned: bool = False
    assignee: str | None = None
    owner: Owner | None = None


class Within(Struct, frozen=True):
    """Which accounts a list is about: somebody's, a tier's, those that renew between two days."""

    tier: str | None
    csm: str | None
    first: dt.date | None
    last: dt.date | None

    @classmethod
    def of(cls, window: RenewalWindow) -> Within:
        """What of a request narrows it. Raises a 400 problem for a window that ends before it begins."""
        first, last = window.renewal_from, window.renewal_to
        if first is not None and last is not None and first > last:
            raise bad_parameter(FieldError("renewal_from", f"{first} is after the last day, {last}"))
        return cls(window.tier, None if window.csm is None else window.csm[:KEY_CHARACTERS], first, last)


class Place(Struct, frozen=True):
    """One line of the queue: the account, and the signal that gives it its place."""

    account_id: str
    episode_id: str
    rank: Decimal
    precedence: int


class Open(Struct, frozen=True):
    """What is open at an account: its signals, by which confidence is judged, and how many there are.

    `counts`: by what the engine says; `statuses`: by what people see.
    """

    judged: list[Judged]
    counts: dict[str, int]
    statuses: dict[Status, int]


class Cohort(Struct, frozen=True):
    """The accounts that signed in the same quarter and have a score: how many, how many lower, how many the same."""

    quarter: dt.date
    size: int
    lower: int
    same: int


async def places(
    connection: AsyncConnection, wanted: Wanted, window: RenewalWindow, order: str
) -> tuple[list[Place], str | None]:
    """One page of the queue and the cursor of the next one.

    Raises a 400 problem for a cursor of another order, and for a window that ends before it begins.
    """
    keys = ("precedence", *FIRST_IN_PAGES) if wanted.some_first else FIRST_IN_PAGES
    within = Within.of(window)
    after: dict[str, Any] = {}
    if window.cursor is not None:
        place = cursors.decode(window.cursor, cursors.ByRank, order)
        after = {key: getattr(place, key) for key in keys}
    # Of what is read some is passed over, because its account stands higher already: little, as a rule.
    at_once = window.limit * ENTRIES_READ + 1 if wanted.by_account else window.limit + 1
    found: list[Place] = []
    while len(found) <= window.limit:
        rows = (await connection.execute(_part(wanted, within, keys, bool(after), at_once), after)).all()
        found += [Place(row.account_id, row.episode_id, row.rank, row.precedence) for row in rows if row.highest]
        if len(rows) < at_once:
            break
        after = {key: getattr(rows[-1], key) for key in keys}
    cursor = None
    if len(found) > window.limit:
        end = found[window.limit - 1]
        precedence = end.precedence if wanted.some_first else 0
        cursor = cursors.encode(cursors.ByRank(order, precedence, end.rank, end.account_id, end.episode_id))
    return found[: window.limit], cursor


@lru_cache(maxsize=KEPT_STATEMENTS)
def _part(wanted: Wanted, within: Within, keys: Sequence[str], goes_on: bool, most: int) -> Select[*tuple[Any, ...]]:
    """The matching entries, with whether each is the highest of its account that matches.

    `goes_on`: those after a place, whose `keys` the statement is executed with.
    """
    columns = (QueueEntry.account_id, QueueEntry.episode_id, QueueEntry.rank, QueueEntry.precedence)
    entries = select(*columns).where(*_matching(QueueEntry, wanted), *_within(QueueEntry, within))
    if goes_on:
        place = tuple_(*(bindparam(key, type_=getattr(QueueEntry, key).type) for key in keys))
        entries = entries.where(tuple_(*(getattr(QueueEntry, key) for key in keys)) < place)
    # Cut before the highest is looked for: the planner would look for it for every entry that matches, and then sort.
    part = entries.order_by(*(getattr(QueueEntry, key).desc() for key in keys)).limit(most).subquery()
    highest: ColumnElement[bool] = true()
    if wanted.by_account:
        other = aliased(QueueEntry)
        highest = part.c.episode_id == (
            select(other.episode_id)
            .where(other.account_id == part.c.account_id, *_matching(other, wanted))
            .order_by(other.rank.desc(), other.episode_id.desc())
            .limit(1)
            .scalar_subquery()
        )
    return select(part, highest.label("highest")).order_by(*(part.c[key].desc() for key in keys))


async def accounts_found(connection: AsyncConnection, wanted: Wanted, window: RenewalWindow) -> int:
    """How many accounts a list by account has, counted up to `COUNTED_MOST` and one more."""
    found: int = (await connection.execute(_counted(wanted, Within.of(window)))).scalar_one()
    return found


@lru_cache(maxsize=KEPT_STATEMENTS)
def _counted(wanted: Wanted, within: Within) -> Select[*tuple[Any, ...]]:
    matching = (
        select(QueueEntry.account_id)
        .where(*_matching(QueueEntry, wanted), *_within(QueueEntry, within))
        .distinct()
        .limit(COUNTED_MOST + 1)
        .subquery()
    )
    return select(func.count()).select_from(matching)


def _matching(entry: type[QueueEntry], wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if len(wanted.signals) == 1:
        found.append(entry.signal == wanted.signals[0])
    elif wanted.signals:
        found.append(entry.signal == among(wanted.signals))
    if wanted.kind is not None:
        found.append(entry.kind == wanted.kind)
    if wanted.severity is not None:
        found.append(entry.severity == wanted.severity)
    if wanted.family is not None:
        found.append(entry.family == wanted.family)
    if wanted.assigned:
        found.append(handled.queued_of_assignee(entry, wanted.assignee))
    if wanted.owner is not None:
        found.append(handled.queued_of_owner(entry, wanted.owner))
    return [*found, *handled.queued_of_status(entry, wanted.statuses)]


def _within(entry: type[QueueEntry], within: Within) -> list[ColumnElement[bool]]:
    found = _renewing(entry.renewal.expression, within)
    if within.tier is not None:
        found.append(entry.tier == within.tier)
    if within.csm is not None:
        found.append(entry.csm == within.csm)
    return found


def _renewing(renewal: ColumnElement[Any], within: Within) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if within.first is not None:
        found.append(renewal >= within.first)
    if within.last is not None:
        found.append(renewal <= within.last)
    return found


async def open_at(connection: AsyncConnection, account_ids: Sequence[str]) -> dict[str, Open]:
    """What is open at each of these accounts."""
    found = {
        account_id: Open([], {"critical": 0, "warning": 0, "info": 0, "opportunity": 0}, dict.fromkeys(QUEUED, 0))
        for account_id in account_ids
    }
    rows = await connection.execute(_open_among(), {"accounts": list(account_ids)})
    for account_id, kind, severity, signal, scope, status, count in rows:
        at = found[account_id]
        at.judged.append(Judged(signal=signal, kind=kind, severity=severity, scope=scope))
        at.counts[severity if kind == "risk" else "opportunity"] += count
        at.statuses[status] += count
    return found


@cache
def _open_among() -> Select[*tuple[Any, ...]]:
    columns = (QueueEntry.account_id, QueueEntry.kind, QueueEntry.severity, QueueEntry.signal, QueueEntry.scope)
    # Without a handling the status is open, whatever else the episode says: only of those that are handled it is read.
    handling = and_(QueueEntry.handled, HandlingRow.episode_id == QueueEntry.episode_id)
    status = shown(func.now()).label("status")
    return (
        select(*columns, status, func.count())
        .select_from(QueueEntry)
        .outerjoin(HandlingRow, handling)
        .outerjoin(Episode, Episode.episode_id == HandlingRow.episode_id)
        .where(QueueEntry.account_id == handled.among_given("accounts"))
        .group_by(*columns, status)
    )


async def hidden(connection: AsyncConnection, wanted: Wanted, window: RenewalWindow) -> dict[str, int]:
    """How many signals a list leaves out because they are snoozed or closed, by status."""
    left_out = frozenset(HIDDEN) - wanted.statuses
    if not left_out:
        return {}
    counts: dict[str, int] = {name: 0 for name in HIDDEN if name in left_out}
    return counts | {row[0]: row[1] for row in await connection.execute(_left_out(wanted, Within.of(window)))}


@lru_cache(maxsize=KEPT_STATEMENTS)
def _left_out(wanted: Wanted, within: Within) -> Select[*tuple[Any, ...]]:
    status = shown(func.now()).label("status")
    matching = msgspec.structs.replace(wanted, statuses=handled.UNCLEARED)
    return (
        select(status, func.count())
        .select_from(HandlingRow)
        .join(Episode, Episode.episode_id == HandlingRow.episode_id)
        .join(QueueEntry, QueueEntry.episode_id == HandlingRow.episode_id)
        .where(
            QueueEntry.handled,
            # So said, the episodes of the others are not read.
            or_(HandlingRow.snoozed_ordinal.is_not(None), HandlingRow.closed_ordinal.is_not(None)),
            status == among(frozenset(HIDDEN) - wanted.statuses),
            *_matching(QueueEntry, matching),
            *_within(QueueEntry, within),
        )
        .group_by(status)
    )


async def release(connection: AsyncConnection, feature: str | None) -> tuple[str, dt.datetime] | None:
    """A released feature by its name, without one the feature that was released last; and when."""
    statement = select(Release.feature, Release.released_at)
    if feature is not None:
        statement = statement.where(Release.feature == feature[:KEY_CHARACTERS])
    statement = statement.order_by(Release.released_at.desc(), Release.feature.desc()).limit(1)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else (row.feature, row.released_at)


async def accounts_without(
    connection: AsyncConnection, feature: str, window: RenewalWindow, order: str
) -> tuple[list[str], str | None]:
    """Accounts that have not used a released feature, those that weigh most first, and the cursor of the next page."""
    statement = (
        select(Standing.account_id, Standing.weight)
        .join(Account, Account.account_id == Standing.account_id)
        .where(Standing.untried.op("@>")(cast(literal([feature], ARRAY(Text)), ARRAY(Text))), ~Account.churned)
    )
    within = Within.of(window)
    if within.tier is not None:
        statement = statement.where(Account.tier == within.tier)
    if within.csm is not None:
        statement = statement.where(Account.csm == within.csm)
    statement = statement.where(*_renewing(Standing.renewal.expression, within))
    if window.cursor is not None:
        after = cursors.decode(window.cursor, cursors.ByNumber, order)
        last = tuple_(literal(after.value), literal(after.account_id))
        statement = statement.where(tuple_(Standing.weight, Standing.account_id) < last)
    statement = statement.order_by(Standing.weight.desc(), Standing.account_id.desc()).limit(window.limit + 1)
    rows = (await connection.execute(statement)).all()
    cursor = None
    if len(rows) > window.limit:
        end = rows[window.limit - 1]
        cursor = cursors.encode(cursors.ByNumber(order, end.weight, end.account_id))
    return [row.account_id for row in rows[: window.limit]], cursor


async def scores(connection: AsyncConnection, account_id: str, first: dt.date, last: dt.date) -> list[Any]:
    """The scores of the days from `first` to `last`, both included, oldest first: day, score, band, coverage."""
    statement = (
        select(HealthDay.day, HealthDay.score, HealthDay.band, HealthDay.coverage)
        .where(HealthDay.account_id == account_id, HealthDay.day.between(first, last))
        .order_by(HealthDay.day)
    )
    return list(await connection.execute(statement))


async def cohort(connection: AsyncConnection, account_id: str) -> Cohort | None:
    """How an account's score stands among those that signed in its quarter. None: churned, no score, or not known when."""
    own = select(Standing.cohort, Standing.score).where(Standing.account_id == account_id)
    row = (await connection.execute(own)).one_or_none()
    if row is None or row.cohort is None or row.score is None:
        return None
    counts = select(
        func.count(),
        func.count().filter(Standing.score < row.score),
        func.count().filter(Standing.score == row.score),
    ).where(Standing.cohort == row.cohort, Standing.score.is_not(None))
    size, lower, same = (await connection.execute(counts)).one()
    return Cohort(row.cohort, size, lower, same - 1)
