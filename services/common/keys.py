"""Keys of the api and of ingest: how they look, what is kept of them, and how one is looked up.

A secret is `eb_` and 32 random bytes, so its plain SHA-256 is safe to store: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.db.people import User
from schemas.db.tables import ApiKey
from services.common import audit

PREFIX: Final = "eb_"
SECRET_BYTES: Final = 32
SCOPES: Final = ("read", "operate", "admin", "ingest")
"""`read` and `operate` are the api's, `ingest` a write key's; `admin` may do everything that the api offers."""


KEY_ACTOR: Final = "key:"
"""Begins the actor of what is done with a key that is nobody's."""

_CONTAINED: Final = {"admin": {"admin", "operate", "read"}, "operate": {"operate", "read"}, "read": {"read"}}


class KeyRefused(ValueError):
    """A key cannot be made as asked. The message names the field and says what to do."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is in force. `source` is what an ingest key's events are said to come from, `user` whose key it is.

    The scopes of somebody's key are those that both it and its user have.
    """

    id: str
    name: str | None
    scopes: frozenset[str]
    source: str | None
    user: str | None = None

    @property
    def actor(self) -> str:
        """Who acts with it: the user, else `key:` and the key's name or id. No user id begins so."""
        return self.user or f"{KEY_ACTOR}{self.name or self.id}"

    def allows(self, scope: str) -> bool:
        """Whether the key may do what needs `scope`. `operate` reads too; `admin` does all that the api offers."""
        implied = {"read": {"read", "operate", "admin"}, "operate": {"operate", "admin"}}.get(scope, {scope})
        return not implied.isdisjoint(self.scopes)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `secret` is shown once and stored nowhere."""

    key: Key
    secret: str


def hash_secret(secret: str) -> bytes:
    """SHA-256 of the secret: what is stored and what lookups compare."""
    return hashlib.sha256(secret.encode()).digest()


def within(wanted: Iterable[str], allowed: Iterable[str]) -> frozenset[str]:
    """Of the api scopes `wanted`, what `allowed` contains too: `admin` contains `operate`, which contains `read`."""
    mine, theirs = (
        {each for scope in scopes for each in _CONTAINED.get(scope, {scope})} for scopes in (wanted, allowed)
    )
    return frozenset(mine & theirs)


async def create(
    engine: AsyncEngine,
    scopes: Iterable[str],
    *,
    source: str | None = None,
    name: str | None = None,
    user: str | None = None,
    by: str = "cli",
) -> NewKey:
    """Make a key and store its hash; `by` is who is said to have made it.

    Raises KeyRefused for an unknown scope, an ingest key without a source, a user who is not there, is disabled or has
    less than is asked for.
    """
    wanted = frozenset(scopes)
    unknown = sorted(wanted.difference(SCOPES))
    if unknown or not wanted:
        raise KeyRefused(f"scope: {', '.join(unknown) or 'none given'}; choose from {', '.join(SCOPES)}")
    if "ingest" in wanted and not source:
        raise KeyRefused("source: an ingest key names the source of its events; add --source NAME")
    if source is not None and ("ingest" not in wanted or len(source) > 512):
        raise KeyRefused("source: up to 512 characters, and only a key with scope ingest has one")
    if user is not None and "ingest" in wanted:
        raise KeyRefused("user: an ingest key is a program's; leave the user out")
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    key = Key(str(uuid.uuid4()), name, wanted, source, user)
    row = {
        "key_id": key.id,
        "name": name,
        "secret_sha256": hash_secret(secret),
        "last_four": secret[-4:],
        "scopes": sorted(wanted),
        "source": source,
        "user_id": user,
    }
    async with engine.begin() as connection:
        if user is not None:
            await _allow(connection, user, wanted)
        await connection.execute(insert(ApiKey).values(row))
        told = {"scopes": sorted(wanted), "name": name, "source": source, "user": user}
        await audit.record(connection, by, "key.created", key.id, told)
    return NewKey(key, secret)


async def _allow(connection: AsyncConnection, user: str, wanted: frozenset[str]) -> None:
    found = await connection.execute(select(User.scopes, User.disabled_at).where(User.user_id == user))
    row = found.one_or_none()
    if row is None:
        raise KeyRefused(f"user: no user {user!r}; make one with `ebbtide users add {user}`")
    if row.disabled_at is not None:
        raise KeyRefused(f"user: {user!r} is disabled; enable with `ebbtide users add {user}`")
    if not wanted <= within(wanted, row.scopes):
        has = ", ".join(row.scopes)
        raise KeyRefused(f"scope: {user!r} has {has}, and a user's key has no more than its user")


async def lookup(engine: AsyncEngine, secret: str) -> Key | None:
    """The key in force that has this secret, or None; the key of a user who is disabled is not in force.

    Raises what SQLAlchemy raises when the database is away.
    """
    statement = (
        select(
            ApiKey.key_id,
            ApiKey.name,
            ApiKey.scopes,
            ApiKey.source,
            ApiKey.user_id,
            User.scopes.label("user_scopes"),
            User.disabled_at,
        )
        .outerjoin(User, User.user_id == ApiKey.user_id)
        .where(ApiKey.secret_sha256 == hash_secret(secret), ApiKey.revoked_at.is_(None))
    )
    async with engine.connect() as connection:
        row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    if row.user_id is None:
        return Key(row.key_id, row.name, frozenset(row.scopes), row.source)
    if row.user_scopes is None or row.disabled_at is not None:
        return None
    return Key(row.key_id, row.name, within(row.scopes, row.user_scopes), row.source, row.user_id)


async def listing(engine: AsyncEngine) -> list[dict[str, object]]:
    """Every key, newest first, without secrets: id, name, user, scopes, source, last_four, created_at, revoked_at."""
    whose = (ApiKey.name, ApiKey.user_id.label("user"), ApiKey.scopes, ApiKey.source)
    columns = (*whose, ApiKey.last_four, ApiKey.created_at, ApiKey.revoked_at)
    statement = select(ApiKey.key_id.label("id"), *columns).order_by(ApiKey.created_at.desc(), ApiKey.key_id)
    async with engine.connect() as connection:
        return [dict(row._mapping) for row in await connection.execute(statement)]


async def revoke(engine: AsyncEngine, key_id: str, *, by: str = "cli") -> bool:
    """Take a key out of force. False when there is no such key; revoking twice keeps the first time."""
    statement = (
        update(ApiKey)
        .where(ApiKey.key_id == key_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
        .returning(ApiKey.key_id)
    )
    async with engine.begin() as connection:
        if (await connection.execute(statement)).one_or_none() is None:
            return False
        await audit.record(connection, by, "key.revoked", key_id)
        return True
