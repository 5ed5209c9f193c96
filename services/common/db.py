"""The database as mechanism: engines with bounded waits, migrations, and whether it can be used.

Every connection carries timeouts, so that a statement or a lock that hangs costs seconds, not the process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import URL, Connection, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import schemas.db.migrations

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic is imported where migrations are run or named: half a second that only those who need it pay.

CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 15.0
LOCK_TIMEOUT_S = 5.0
IDLE_IN_TRANSACTION_S = 30.0
MIGRATION_LOCK = 0x65626274  # advisory lock key: "ebbt"; two upgrades at once take turns

UNREACHABLE = (OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncio.TimeoutError)
"""What a database that is down, starting, or going away raises, by whichever path it was asked."""


class DatabaseError(Exception):
    """The database cannot be used. The message says what to do."""


def create_engine(
    url: str,
    *,
    process: str,
    pool_size: int = 5,
    statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    plan_each: bool = False,
) -> AsyncEngine:
    """An engine on `url` (`postgresql://…`, with or without a driver) whose connections are named after `process`.

    It holds at most `pool_size` connections; who waits for one longer than a few seconds gets an error. `plan_each`: a
    statement is planned for its values each time, not once for all values.
    """
    target, arguments = _connect_arguments(url, process, statement_timeout_s)
    if plan_each:
        # And not compiled: that takes longer than any of these takes to run.
        arguments["server_settings"] |= {"plan_cache_mode": "force_custom_plan", "jit": "off"}
    return create_async_engine(
        target,
        connect_args=arguments,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        pool_recycle=1800,
    )


async def connect(url: str, *, process: str, statement_timeout_s: float = STATEMENT_TIMEOUT_S) -> Any:
    """One asyncpg connection, for work that needs arrays and raw speed. The caller closes it."""
    target, arguments = _connect_arguments(url, process, statement_timeout_s)
    plain = target.set(drivername="postgresql").render_as_string(hide_password=False)
    return await asyncpg.connect(plain, **arguments)


def _connect_arguments(url: str, process: str, statement_timeout_s: float) -> tuple[URL, dict[str, Any]]:
    target = make_url(url).set(drivername="postgresql+asyncpg")
    arguments: dict[str, Any] = {
        "timeout": CONNECT_TIMEOUT_S,
        "command_timeout": statement_timeout_s + 5,
        "server_settings": {
            "application_name": f"ebbtide-{process}",
            "timezone": "UTC",
            "statement_timeout": _milliseconds(statement_timeout_s),
            "lock_timeout": _milliseconds(LOCK_TIMEOUT_S),
            "idle_in_transaction_session_timeout": _milliseconds(IDLE_IN_TRANSACTION_S),
        },
    }
    # libpq's name for it, which every provider's URL uses; SQLAlchemy hands query members to asyncpg by name.
    mode = target.query.get("sslmode")
    if mode is not None:
        target = target.difference_update_query(["sslmode"])
        arguments["ssl"] = mode
    return target, arguments


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def alembic_config() -> Config:
    """Alembic's configuration: the migrations that ship with `schemas`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(schemas.db.migrations.__file__).parent))
    return config


def head() -> str:
    """The newest migration of this version of the code."""
    from alembic.script import ScriptDirectory

    revision = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert revision is not None
    return revision


async def current(engine: AsyncEngine) -> str | None:
    """The migration that the database is at; None when it is empty."""
    async with engine.connect() as connection:
        if (await connection.execute(text("SELECT to_regclass('alembic_version')"))).scalar() is None:
            return None
        found: str | None = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        return found


async def upgrade(
    url: str, *, wait_s: float = 30.0, told: Callable[[str], None] = lambda _: None
) -> tuple[str | None, str]:
    """Make the database if it is missing and bring it to the newest migration. Returns the revisions before and after.

    Waits at most `wait_s` for a server that is starting. `told` hears what is being waited for, once.
    Raises DatabaseError when the server stays away, refuses us, or a lock is held too long.
    """
    from alembic.runtime.migration import MigrationContext

    deadline = time.monotonic() + wait_s
    await _wait_and_create(url, deadline, told)
    engine = create_engine(url, process="migrate", pool_size=1, statement_timeout_s=900)
    try:
        async with engine.connect() as connection:
            # The wait for another upgrade is not a lock wait that blocks others: it may be longer than a migration's.
            await connection.execute(text("SET lock_timeout = '60s'"))
            await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
            await connection.commit()
            before = await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_revision())
            await connection.rollback()
            await connection.run_sync(_run_upgrade)
            return before, head()
    except DBAPIError as error:
        raise DatabaseError(
            f"the migration stopped and changed nothing further: {_first_line(error.orig)}; "
            "if a lock was held, end the session that holds it (pg_stat_activity) and run `ebbtide db upgrade` again"
        ) from error
    finally:
        await engine.dispose()


def _run_upgrade(connection: Connection) -> None:
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _wait_and_create(url: str, deadline: float, told: Callable[[str], None]) -> None:
    name = make_url(url).database
    where = make_url(url).set(drivername="postgresql").render_as_string(hide_password=True)
    if not name:
        raise DatabaseError(f"EBBTIDE_DATABASE_URL names no database: {where}; end it with /ebbtide")
    waited = False
    while True:
        try:
            connection = await connect(url, process="migrate")
            await connection.close()
            return
        except asyncpg.InvalidCatalogNameError:
            await _create(url, name)
            return
        except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
            raise DatabaseError(f"{where} refuses the login: {error}; correct EBBTIDE_DATABASE_URL") from error
        except UNREACHABLE as error:
            if time.monotonic() >= deadline:
                raise DatabaseError(
                    f"no database at {where}: {_first_line(error)}; start it (`ebbtide up`) or set EBBTIDE_DATABASE_URL"
                ) from error
            if not waited:
                told(f"waiting for the database at {where}")
                waited = True
            await asyncio.sleep(0.2)


async def _create(url: str, name: str) -> None:
    maintenance = make_url(url).set(database="postgres").render_as_string(hide_password=False)
    quoted = '"' + name.replace('"', '""') + '"'
    try:
        connection = await connect(maintenance, process="migrate")
    except UNREACHABLE as error:
        raise DatabaseError(
            f"database {name!r} does not exist and cannot be created: {_first_line(error)}; create it"
        ) from error
    try:
        await connection.execute(f"CREATE DATABASE {quoted} ENCODING 'UTF8' TEMPLATE template0")
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        pass  # another upgrade was quicker
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"database {name!r} does not exist and cannot be created: {error}; create it") from error
    finally:
        await connection.close()


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
