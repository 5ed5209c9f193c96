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
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.db.tables import ApiKey

PREFIX: Final = "eb_"
SECRET_BYTES: Final = 32
SCOPES: Final = ("read", "operate", "admin", "ingest")
"""`read` and `operate` are the api's, `ingest` a write key's; `admin` may do everything that the api offers."""


class KeyRefused(ValueError):
    """A key cannot be made as asked. The message names the field and says what to do."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is in force. `source` is what an ingest key's events are said to come from."""

    id: str
    name: str | None
    scopes: frozenset[str]
    source: str | None

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


async def create(
    engine: AsyncEngine, scopes: Iterable[str], *, source: str | None = None, name: str | None = None
) -> NewKey:
    """Make a key and store its hash. Raises KeyRefused for an unknown scope, or an ingest key without a source."""
    wanted = frozenset(scopes)
    unknown = sorted(wanted.difference(SCOPES))
    if unknown or not wanted:
        raise KeyRefused(f"scope: {', '.join(unknown) or 'none given'}; choose from {', '.join(SCOPES)}")
    if "ingest" in wanted and not source:
        raise KeyRefused("source: an ingest key names the source of its events; add --source NAME")
    if source is not None and ("ingest" not in wanted or len(source) > 512):
        raise KeyRefused("source: up to 512 characters, and only a key with scope ingest has one")
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    key = Key(str(uuid.uuid4()), name, wanted, source)
    row = {
        "key_id": key.id,
        "name": name,
        "secret_sha256": hash_secret(secret),
        "last_four": secret[-4:],
        "scopes": sorted(wanted),
        "source": source,
    }
    async with engine.begin() as connection:
        await connection.execute(insert(ApiKey).values(row))
    return NewKey(key, secret)


async def lookup(engine: AsyncEngine, secret: str) -> Key | None:
    """The key in force that has this secret, or None. Raises what SQLAlchemy raises when the database is away."""
    statement = select(ApiKey.key_id, ApiKey.name, ApiKey.scopes, ApiKey.source).where(
        ApiKey.secret_sha256 == hash_secret(secret), ApiKey.revoked_at.is_(None)
    )
    async with engine.connect() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None else Key(row.key_id, row.name, frozenset(row.scopes), row.source)


async def listing(engine: AsyncEngine) -> list[dict[str, object]]:
    """Every key, newest first, without secrets: id, name, scopes, source, last_four, created_at, revoked_at."""
    columns = (ApiKey.name, ApiKey.scopes, ApiKey.source, ApiKey.last_four, ApiKey.created_at, ApiKey.revoked_at)
    statement = select(ApiKey.key_id.label("id"), *columns).order_by(ApiKey.created_at.desc(), ApiKey.key_id)
    async with engine.connect() as connection:
        return [dict(row._mapping) for row in await connection.execute(statement)]


async def revoke(engine: AsyncEngine, key_id: str) -> bool:
    """Take a key out of force. False when there is no such key; revoking twice keeps the first time."""
    statement = (
        update(ApiKey)
        .where(ApiKey.key_id == key_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
        .returning(ApiKey.key_id)
    )
    async with engine.begin() as connection:
        return (await connection.execute(statement)).one_or_none() is not None
