"""People and pools: who may act, who gets the next signal.

A user's id is the name that profiles use for them (`csm`), so that what is theirs is found without a mapping.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, get_args

from msgspec import Struct
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.db.people import Handling, Pool, User
from schemas.db.tables import KEY_CHARACTERS, Episode
from services.common import audit
from services.common.keys import KEY_ACTOR

USER_SCOPES: Final = ("read", "operate", "admin")
Policy = Literal["round_robin", "load"]
POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)
CLI: Final = "cli"
"""Actor of what is done on the command line, where the host says who may."""


class PersonRefused(ValueError):
    """A user or pool cannot be as asked. `field` is what is wrong; the message says what to do."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


class Person(Struct, frozen=True):
    """A user. `name` is as shown, else the id; `disabled_at` is null while they may act."""

    user_id: str
    name: str | None
    email: str | None
    scopes: list[str]
    created_at: dt.datetime
    disabled_at: dt.datetime | None


class PoolRow(Struct, frozen=True):
    """People who share work. `given` is how many signals were given out in turn."""

    pool_id: str
    policy: Policy
    members: list[str]
    given: int
    created_at: dt.datetime


def _id(field: str, value: str) -> str:
    if not value or value != value.strip() or len(value) > KEY_CHARACTERS or not value.isprintable():
        raise PersonRefused(
            field, f"1 to {KEY_CHARACTERS} printable characters are needed, without blanks at the ends: {value[:40]!r}"
        )
    if value.startswith(KEY_ACTOR) or value in (CLI, "me", "none"):
        raise PersonRefused(field, f"{value!r} means something else here; choose another")
    return value


# --- users ---------------------------------------------------------------------------------------------------------


async def put_user(
    connection: AsyncConnection,
    user_id: str,
    *,
    scopes: Iterable[str],
    name: str | None = None,
    email: str | None = None,
    disabled: bool = False,
    by: str,
) -> Person:
    """Make a user, or make one as said. Raises PersonRefused for an id or scopes that cannot be."""
    wanted = sorted(set(scopes))
    if not wanted or not set(wanted) <= set(USER_SCOPES):
        raise PersonRefused("scopes", f"one or more of {', '.join(USER_SCOPES)}")
    row: dict[str, Any] = {"name": name, "email": email, "scopes": wanted}
    since = func.now() if disabled else None
    statement = insert(User).values(user_id=_id("user_id", user_id), disabled_at=since, **row)
    kept = {"disabled_at": func.coalesce(User.disabled_at, func.now()) if disabled else None}
    await connection.execute(statement.on_conflict_do_update(index_elements=[User.user_id], set_=row | kept))
    await audit.record(connection, by, "user.put", user_id, {"name": name, "scopes": wanted, "disabled": disabled})
    made = await user(connection, user_id)
    assert made is not None
    return made


async def disable_user(connection: AsyncConnection, user_id: str, *, by: str) -> bool:
    """Take a user out of force, with their keys. False when there is none; what they have stays theirs."""
    statement = (
        update(User)
        .where(User.user_id == user_id)
        .values(disabled_at=func.coalesce(User.disabled_at, func.now()))
        .returning(User.user_id)
    )
    if (await connection.execute(statement)).one_or_none() is None:
        return False
    await audit.record(connection, by, "user.disabled", user_id)
    return True


async def users(connection: AsyncConnection) -> list[Person]:
    """Every user, by id."""
    rows = await connection.execute(select(*User.__table__.columns).order_by(User.user_id))
    return [Person(**row._mapping) for row in rows]


async def user(connection: AsyncConnection, user_id: str) -> Person | None:
    """One user, or None."""
    row = (await connection.execute(select(*User.__table__.columns).where(User.user_id == user_id))).one_or_none()
    return None if row is None else Person(**row._mapping)


# --- pools ---------------------------------------------------------------------------------------------------------


async def put_pool(
    connection: AsyncConnection, pool_id: str, *, policy: str, members: Sequence[str], by: str
) -> PoolRow:
    """Make a pool, or make one as said; whose turn it is goes on. Raises PersonRefused for a member who is no user."""
    if policy not in POLICIES:
        raise PersonRefused("policy", f"one of {', '.join(POLICIES)}")
    wanted = list(dict.fromkeys(members))
    if not wanted or len(wanted) > 1000:
        raise PersonRefused("members", "1 to 1,000 user ids are needed")
    found = await connection.execute(select(User.user_id).where(User.user_id.in_(wanted)))
    missing = sorted(set(wanted).difference(found.scalars()))
    if missing:
        raise PersonRefused("members", f"no user {', '.join(missing)}; `ebbtide users add` makes one")
    row = {"policy": policy, "members": wanted}
    statement = insert(Pool).values(pool_id=_id("pool_id", pool_id), **row)
    await connection.execute(statement.on_conflict_do_update(index_elements=[Pool.pool_id], set_=row))
    await audit.record(connection, by, "pool.put", pool_id, row)
    found_pool = await pool(connection, pool_id)
    assert found_pool is not None
    return found_pool


async def remove_pool(connection: AsyncConnection, pool_id: str, *, by: str) -> bool:
    """Remove a pool. False when there is none. What it gave out stays with whom it was given to."""
    statement = delete(Pool).where(Pool.pool_id == pool_id).returning(Pool.pool_id)
    if (await connection.execute(statement)).one_or_none() is None:
        return False
    await audit.record(connection, by, "pool.removed", pool_id)
    return True


async def pools(connection: AsyncConnection) -> list[PoolRow]:
    """Every pool, by id."""
    rows = await connection.execute(select(*Pool.__table__.columns).order_by(Pool.pool_id))
    return [PoolRow(**row._mapping) for row in rows]


async def pool(connection: AsyncConnection, pool_id: str) -> PoolRow | None:
    """One pool, or None."""
    row = (await connection.execute(select(*Pool.__table__.columns).where(Pool.pool_id == pool_id))).one_or_none()
    return None if row is None else PoolRow(**row._mapping)


# --- who gets it ---------------------------------------------------------------------------------------------------


def in_turn(members: Sequence[str], given: int) -> list[str]:
    """The members, beginning with the one whose turn it is after so many signals were given out."""
    start = given % len(members)
    return [*members[start:], *members[:start]]


async def next_of(connection: AsyncConnection, pool_id: str) -> str:
    """Who of a pool gets the next signal. Counts it as given out; the pool is locked until the transaction ends.

    `round_robin`: each in turn. `load`: who has the fewest signals that are neither cleared nor closed, in turn where
    that is equal. Users who are disabled are passed over. Raises PersonRefused where nobody is left, or no such pool.
    """
    found = await connection.execute(
        select(Pool.policy, Pool.members, Pool.given).where(Pool.pool_id == pool_id).with_for_update()
    )
    row = found.one_or_none()
    if row is None:
        raise PersonRefused("pool", f"no pool {pool_id!r}; `ebbtide pools list` shows them")
    enabled = await connection.execute(
        select(User.user_id).where(User.user_id.in_(row.members), User.disabled_at.is_(None))
    )
    able = set(enabled.scalars())
    candidates = [member for member in in_turn(row.members, row.given) if member in able]
    if not candidates:
        raise PersonRefused("pool", f"nobody in pool {pool_id!r} is enabled; `ebbtide users list` shows who is")
    chosen = candidates[0]
    if row.policy == "load":
        loads = await open_assigned(connection, candidates)
        chosen = min(candidates, key=lambda member: loads.get(member, 0))
    turn: Any = row.given + 1 + (in_turn(row.members, row.given).index(chosen) if row.policy == "round_robin" else 0)
    await connection.execute(update(Pool).where(Pool.pool_id == pool_id).values(given=turn))
    return chosen


async def check_assignable(connection: AsyncConnection, user_id: str) -> None:
    """Raises PersonRefused for who is no user, or is disabled."""
    found = await user(connection, user_id)
    if found is None:
        raise PersonRefused("to", f"no user {user_id!r}; `ebbtide users add` makes one, GET /v1/people lists them")
    if found.disabled_at is not None:
        raise PersonRefused("to", f"{user_id!r} is disabled since {found.disabled_at:%Y-%m-%d}; choose somebody else")


def _unfinished() -> ColumnElement[bool]:
    closed = (Handling.closed_ordinal >= Episode.last_ordinal) & (Handling.outcome != "saved_by_concession")
    return Episode.cleared_at.is_(None) & closed.is_not(True)


async def open_assigned(connection: AsyncConnection, user_ids: Sequence[str]) -> dict[str, int]:
    """How many signals of each of these users are neither cleared nor closed; those who have none are left out."""
    statement = (
        select(Handling.assignee, func.count())
        .join(Episode, Episode.episode_id == Handling.episode_id)
        .where(Handling.assignee.in_(user_ids), _unfinished())
        .group_by(Handling.assignee)
    )
    return {assignee: count for assignee, count in await connection.execute(statement) if assignee is not None}
