"""Who there is to give work to: users and pools, read once in a while for every page."""

from __future__ import annotations

import time
from typing import Final

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common import people

TRUSTED_S: Final = 10.0
POOL: Final = "pool:"
"""Begins the name of a pool where a person or a pool may be named."""


class Directory(Struct, frozen=True):
    """Names of users by id, in their order, without those who are disabled; ids of pools."""

    users: dict[str, str]
    pools: tuple[str, ...]

    def name(self, actor: str | None) -> str:
        """How somebody is called; the id itself where it is no user's any more."""
        return "nobody" if actor is None else self.users.get(actor, actor)


class DirectoryReader:
    """Reads it at most once in `TRUSTED_S`."""

    def __init__(self) -> None:
        self._known = Directory({}, ())
        self._until = float("-inf")

    async def read(self, connection: AsyncConnection) -> Directory:
        """Users and pools."""
        if time.monotonic() >= self._until:
            users = {
                person.user_id: person.name or person.user_id
                for person in await people.users(connection)
                if person.disabled_at is None
            }
            self._known = Directory(users, tuple(pool.pool_id for pool in await people.pools(connection)))
            self._until = time.monotonic() + TRUSTED_S
        return self._known
