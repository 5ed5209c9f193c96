"""Whose accounts there are: the success managers that accounts name, users of the console or not."""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.api.console.directory import Directory

TRUSTED_S: Final = 60.0
NAMED_MOST: Final = 1000
LISTED_MOST: Final = 100
"""So many people are a list to choose from; of more, one is looked for by typing."""

# One step along the index for each manager: there are few of them and many accounts.
NAMED: Final = text(
    "WITH RECURSIVE named(csm, n) AS ("
    " (SELECT csm, 1 FROM accounts WHERE csm IS NOT NULL ORDER BY csm LIMIT 1)"
    " UNION ALL SELECT (SELECT csm FROM accounts WHERE csm > named.csm ORDER BY csm LIMIT 1), n + 1"
    " FROM named WHERE named.csm IS NOT NULL AND n < :most"
    ") SELECT csm FROM named WHERE csm IS NOT NULL"
)


class Managers:
    """Reads them at most once in `TRUSTED_S`, and `NAMED_MOST` at most."""

    def __init__(self) -> None:
        self._known: tuple[str, ...] = ()
        self._until = float("-inf")

    async def read(self, connection: AsyncConnection) -> tuple[str, ...]:
        """Their ids, as the accounts have them, in order."""
        if time.monotonic() >= self._until:
            self._known = tuple((await connection.execute(NAMED, {"most": NAMED_MOST})).scalars())
            self._until = time.monotonic() + TRUSTED_S
        return self._known


def people(managers: tuple[str, ...], directory: Directory) -> dict[str, str]:
    """Managers and users: their names by id, the id where no name is known, by name."""
    names = {manager: directory.name(manager) for manager in managers} | directory.users
    return dict(sorted(names.items(), key=lambda entry: (entry[1].casefold(), entry[0])))
