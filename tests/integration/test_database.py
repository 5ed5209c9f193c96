"""Migrations, keys and their commands on a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from click.testing import CliRunner, Result
from sqlalchemy import Connection, inspect, text

import schemas.db.migrations
from schemas.db.tables import Base
from services.cli.db import db as db_command
from services.cli.keys import keys as keys_command
from services.common import db, keys
from services.common.settings import settings
from tests.conftest import PostgresServer
from tests.harness import free_ports

VERSIONS = sorted((Path(schemas.db.migrations.__file__).parent / "versions").glob("0*.py"))


async def test_the_migrations_make_exactly_the_tables(fresh_database: str) -> None:
    assert await db.upgrade(fresh_database) == (None, db.head())
    assert await db.upgrade(fresh_database) == (db.head(), db.head())
    engine = db.create_engine(fresh_database, process="test")

    def compare(connection: Connection) -> set[str]:
        config = db.alembic_config()
        config.attributes["connection"] = connection
        command.check(config)  # raises when a migration is missing
        return set(inspect(connection).get_table_names())

    async with engine.connect() as connection:
        assert await connection.run_sync(compare) == set(Base.metadata.tables) | {"alembic_version"}
    assert await db.current(engine) == db.head()
    await engine.dispose()


async def test_upgrades_at_the_same_time_take_turns(postgres: PostgresServer) -> None:
    url = postgres.server.url("made_by_upgrade")
    try:
        results = await asyncio.gather(*(db.upgrade(url) for _ in range(3)))
    finally:
        postgres.server.drop_database("made_by_upgrade")
    assert sorted(before or "" for before, _ in results) == ["", db.head(), db.head()]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.stem)
def test_each_migration_bounds_its_waits_and_is_numbered(version: Path) -> None:
    assert version.stem[:4].isdigit()
    body = version.read_text("utf-8")
    for part in body.split("def ")[1:]:
        statements = part.split("op.")[1:]
        assert "SET LOCAL lock_timeout" in statements[0], part[:40]
        assert "SET LOCAL statement_timeout" in statements[1], part[:40]


async def test_a_migration_that_meets_a_lock_gives_up_and_says_so(fresh_database: str) -> None:
    engine = db.create_engine(fresh_database, process="test")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE accounts (x int)"))
        with pytest.raises(db.DatabaseError, match="run `ebbtide db upgrade` again"):
            await db.upgrade(fresh_database)
    assert await db.current(engine) is None
    await engine.dispose()


async def test_statements_and_locks_are_bounded(fresh_database: str) -> None:
    engine = db.create_engine(fresh_database, process="test", statement_timeout_s=0.2)
    async with engine.connect() as connection:
        with pytest.raises(db.UNREACHABLE):
            await connection.execute(text("SELECT pg_sleep(5)"))
    await engine.dispose()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, migrated_database: str) -> Callable[..., Result]:
    def call(group: object, *arguments: str, url: str = migrated_database) -> Result:
        monkeypatch.setenv("EBBTIDE_DATABASE_URL", url)
        settings.cache_clear()
        try:
            return CliRunner().invoke(group, list(arguments))  # type: ignore[arg-type]
        finally:
            settings.cache_clear()

    return call


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(
    run: Callable[..., Result], migrated_database: str
) -> None:
    made = json.loads(run(keys_command, "create", "--scope", "read,operate", "--name", "me", "--json").stdout)
    assert made["key"].startswith("eb_")
    assert len(made["key"]) == 3 + 43
    assert made["scopes"] == ["operate", "read"]
    plain = run(keys_command, "create", "--scope", "ingest", "--source", "web")
    assert plain.stdout.strip().startswith("eb_")
    listed = json.loads(run(keys_command, "list", "--json").stdout)
    assert {entry["last_four"] for entry in listed} == {made["key"][-4:], plain.stdout.strip()[-4:]}
    assert made["key"] not in run(keys_command, "list").stdout

    async def look() -> tuple[keys.Key | None, keys.Key | None]:
        engine = db.create_engine(migrated_database, process="test")
        found = await keys.lookup(engine, made["key"]), await keys.lookup(engine, plain.stdout.strip())
        await engine.dispose()
        return found

    reader, writer = asyncio.run(look())
    assert reader is not None
    assert reader.scopes == {"read", "operate"}
    assert writer is not None
    assert writer.source == "web"
    assert run(keys_command, "revoke", made["id"]).exit_code == 0
    assert asyncio.run(look())[0] is None
    stored = json.loads(run(keys_command, "list", "--json").stdout)
    assert [entry["id"] for entry in stored if entry["revoked_at"]] == [made["id"]]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create", "--scope", "write"), 2, "choose from read, operate, admin, ingest"),
        (("create", "--scope", " , "), 2, "none given"),
        (("create", "--scope", "ingest"), 2, "--source"),
        (("create", "--scope", "read", "--source", "web"), 2, "scope ingest"),
        (("create",), 2, "--scope"),
        (("revoke", "nobody"), 1, "keys list"),
    ],
)
def test_a_key_command_that_cannot_be_followed_says_what_to_do(
    run: Callable[..., Result], arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run(keys_command, *arguments)
    assert done.exit_code == code
    assert said in done.stderr


def test_a_database_that_is_not_there_is_said_with_what_to_do(run: Callable[..., Result]) -> None:
    (port,) = free_ports(1)
    url = f"postgresql://postgres@127.0.0.1:{port}/ebbtide"
    done = run(db_command, "upgrade", "--wait", "0.5", url=url)
    assert done.exit_code == 1
    assert "ebbtide up" in done.stderr
    assert "EBBTIDE_DATABASE_URL" in done.stderr
    assert run(keys_command, "list", url=url).exit_code == 1
