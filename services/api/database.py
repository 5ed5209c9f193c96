"""The api's use of the database: a connection per request, and whether there is one at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.requests import Request

from services.common import db
from services.common.problems import Problem, unavailable

READY_TRUSTED_S = 1.0
READY_WITHIN_S = 3.0


class Connection:
    """`async with Connection(request) as c`: a read-only transaction. A database that is away is a 503 problem."""

    def __init__(self, request: Request) -> None:
        self._engine: AsyncEngine = request.app.state.engine
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> AsyncConnection:
        try:
            self._connection = await self._engine.connect()
            # One snapshot for all queries of an answer; what is counted is what is listed.
            await self._connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        except db.UNREACHABLE as error:
            await self._close()
            raise _away(error) from error
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()
        if isinstance(error, db.UNREACHABLE) and not _defect(error):
            raise _away(error) from error

    async def _close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that is committed at the end. A database that is away is a 503 problem, as for a `Connection`."""
    with answering():
        async with engine.begin() as connection:
            yield connection


@contextmanager
def answering() -> Iterator[None]:
    """Work that needs the database: where that is away, a 503 problem."""
    try:
        yield
    except db.UNREACHABLE as error:
        if _defect(error):
            raise
        raise _away(error) from error


UNDEFINED_TABLE = "42P01"


def _defect(error: BaseException) -> bool:
    """Whether a statement of ours is at fault, not the database: bad data, or bad SQL on a migrated database."""
    state = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
    return state[:2] in ("22", "42") and state != UNDEFINED_TABLE


def _away(error: BaseException) -> Problem:
    return unavailable(f"the database does not answer ({type(error).__name__}); try again")


class Readiness:
    """Whether the database answers and has all tables of this version. Asked at most once a second."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._head = db.head()
        self._asked = float("-inf")
        self._lock = asyncio.Lock()
        self.last = (False, "not asked yet")

    async def check(self) -> tuple[bool, str]:
        """Ask, unless that was done just now."""
        async with self._lock:
            if time.monotonic() - self._asked >= READY_TRUSTED_S:
                self.last = await self._ask()
                self._asked = time.monotonic()
        return self.last

    async def _ask(self) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                found = await db.current(self._engine)
        except db.UNREACHABLE as error:
            return False, f"the database does not answer: {type(error).__name__}"
        if found is None:
            return False, "the database is empty; run `ebbtide db upgrade`"
        # A newer database is fine: migrations only add while two versions of the code run.
        if found < self._head:
            return False, f"the database is at migration {found}, this version needs {self._head}: `ebbtide db upgrade`"
        return True, f"the database is at migration {found}"
