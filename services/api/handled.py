"""How signals stand, in SQL: the columns that every signal is read with, and the one place for filters by it.

`schemas.db.lifecycle.shown` is the status; time is the database's, the same for everything in one transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import ColumnElement, all_, and_, any_, bindparam, case, cast, exists, func, literal, or_, select
from sqlalchemy import Text as SqlText
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.db.lifecycle import shown
from schemas.db.people import Handling as HandlingRow
from schemas.db.tables import KEY_CHARACTERS, Episode, QueueEntry
from schemas.lifecycle import STATUSES, UNHANDLED, Handling, Status
from schemas.signals import PORTFOLIO_ACCOUNT

UNCLEARED: Final[frozenset[Status]] = frozenset(STATUSES) - {"cleared"}
WORK: Final[frozenset[Status]] = frozenset({"open", "acknowledged"})
"""What is to be worked on now, and shown beside whatever else is asked for."""

COLUMNS: Final = (
    *(HandlingRow.__table__.columns[name].label(f"handling_{name}") for name in Handling.__slots__),
    func.now().label("now"),
)
"""Selected with an episode that is outer-joined with its handling; `handling_of` reads them."""


class Owner(Struct, frozen=True):
    """Whose signals are asked for (None: nobody's), and which are assigned to them; the others are of their accounts."""

    user: str | None
    assigned: tuple[str, ...]


def person(asked: str, me: str) -> str | None:
    """Who is meant by a filter: `me` is who asks, `none` is nobody."""
    return None if asked == "none" else me if asked == "me" else asked


def handling_of(row: Any) -> Handling:
    """The handling in a row that has `COLUMNS`."""
    if row.handling_version is None:
        return UNHANDLED
    return Handling(**{name: getattr(row, f"handling_{name}") for name in Handling.__slots__})


def among(values: Collection[str]) -> ColumnElement[Any]:
    """`column == among(values)`: one of these, as one parameter, so that the statement is the same for any number."""
    return any_(_texts(values))


def _texts(values: Collection[str]) -> ColumnElement[Any]:
    return cast(literal(list(values), ARRAY(SqlText)), ARRAY(SqlText))


def among_given(name: str) -> ColumnElement[Any]:
    """The same, of what the statement is executed with under this name."""
    return any_(bindparam(name, type_=ARRAY(SqlText)))


# --- of episodes ---------------------------------------------------------------------------------------------------


def of_status(statuses: frozenset[Status]) -> list[list[ColumnElement[bool]]]:
    """Conditions on an episode, outer-joined with its handling: its status is one of these.

    Each list is of some episodes, and no two of the same. Several are asked one by one: joined by OR, none of them could
    be looked for in an index.
    """
    found: list[ColumnElement[bool]] = []
    if "cleared" not in statuses:
        # Said apart, so that the indexes of what is not cleared serve.
        found.append(Episode.cleared_at.is_(None))
    elif statuses == {"cleared"}:
        return [[Episode.cleared_at.is_not(None)]]
    if not statuses >= UNCLEARED:
        # Said as what it is not: the planner takes a comparison of the status for rare, one episode in two hundred, and
        # would read and sort every episode to find the few.
        found.append(shown(func.now()) != all_(_texts(frozenset(STATUSES) - statuses)))
    if not statuses.isdisjoint({"open", "cleared"}):
        return [found]
    # Somebody has acted on every one. Of what is not cleared the queue knows on which; it has no signals of the portfolio.
    queued = select(literal(1)).where(QueueEntry.handled, QueueEntry.episode_id == Episode.episode_id)
    return [[*found, exists(queued.correlate(Episode))], [*found, Episode.account_id == PORTFOLIO_ACCOUNT]]


def of_assignee(user: str | None) -> ColumnElement[bool]:
    """Condition on an episode, outer-joined with its handling: it is assigned to this user, to nobody with None."""
    return HandlingRow.assignee.is_(None) if user is None else HandlingRow.assignee == user


def of_owner(owner: Owner) -> ColumnElement[bool]:
    """Condition on an episode, outer-joined with its handling: it is theirs, or of their account and nobody else's."""
    theirs = and_(_csm(Episode.csm.expression, owner), HandlingRow.assignee.is_(None))
    return or_(Episode.episode_id == among(owner.assigned), theirs)


def _csm(column: ColumnElement[Any], owner: Owner) -> ColumnElement[bool]:
    return column.is_(None) if owner.user is None else column == owner.user[:KEY_CHARACTERS]


async def owner(connection: AsyncConnection, user: str | None) -> Owner:
    """Whose signals are asked for."""
    if user is None:
        return Owner(None, ())
    found = await connection.execute(select(HandlingRow.episode_id).where(HandlingRow.assignee == user))
    return Owner(user, tuple(found.scalars()))


# --- of places in the queue ----------------------------------------------------------------------------------------


def queued_of_status(entry: type[QueueEntry], statuses: frozenset[Status]) -> list[ColumnElement[bool]]:
    """Conditions on a place in the queue: the status of its signal, which is not cleared, is one of these."""
    if statuses >= UNCLEARED:
        return []
    status = (
        select(shown(func.now()))
        .select_from(HandlingRow)
        .join(Episode, Episode.episode_id == HandlingRow.episode_id)
        .where(HandlingRow.episode_id == entry.episode_id)
        .correlate(entry)
        .scalar_subquery()
    )
    # What nobody has acted on is open. Only for the others the status is looked up, one by one as they come: as EXISTS it
    # would be looked up for all that was ever handled, before the first place is read.
    known = case((entry.handled.expression, status), else_="open") != all_(_texts(UNCLEARED - statuses))
    return [known] if "open" in statuses else [entry.handled.expression, known]


def _assigned(entry: type[QueueEntry], condition: ColumnElement[bool]) -> ColumnElement[bool]:
    of_entry = select(literal(1)).where(HandlingRow.episode_id == entry.episode_id, condition)
    return exists(of_entry.correlate(entry))


def queued_of_assignee(entry: type[QueueEntry], user: str | None) -> ColumnElement[bool]:
    """Condition on a place in the queue: its signal is assigned to this user, to nobody with None."""
    if user is None:
        return ~_assigned(entry, HandlingRow.assignee.is_not(None))
    return _assigned(entry, HandlingRow.assignee == user)


def queued_of_owner(entry: type[QueueEntry], owner: Owner) -> ColumnElement[bool]:
    """Condition on a place in the queue: its signal is theirs, or of their account and nobody else's."""
    theirs = and_(_csm(entry.csm.expression, owner), ~_assigned(entry, HandlingRow.assignee.is_not(None)))
    return or_(entry.episode_id == among(owner.assigned), theirs)


async def time_now(connection: AsyncConnection) -> dt.datetime:
    """The time of the transaction, which every status in it is of."""
    now: dt.datetime = (await connection.execute(select(func.now()))).scalar_one()
    return now
