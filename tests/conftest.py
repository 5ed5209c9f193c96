"""The real broker and database of a test session. A server that cannot start fails the tests: nothing skips."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from services.common import db, topics
from services.common.settings import Settings
from tests.harness import free_ports


class PostgresServer:
    """The session's database server."""

    def __init__(self, server: LocalPostgres) -> None:
        self.server = server

    @property
    def url(self) -> str:
        """`postgresql://…` of the server's own database, which no test changes: take `fresh_database`."""
        return self.server.url()


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder for this session's servers. (pytest's own is closed to the account PostgreSQL runs as under root.)"""
    folder = Path(tempfile.mkdtemp(prefix="ebbtide-tests-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka(session_folder: Path) -> Iterator[LocalKafka]:
    """A real broker on a free port (`.bootstrap`), one for the session."""
    port, controller_port = free_ports(2)
    broker = LocalKafka(session_folder / "kafka", port, controller_port)
    try:
        broker.start()
        broker.wait_ready()
        yield broker
    finally:
        broker.kill()


@pytest.fixture(scope="session")
def postgres(session_folder: Path) -> Iterator[PostgresServer]:
    """A real database server (`.url`), one for the session."""
    (port,) = free_ports(1)
    server = LocalPostgres(session_folder / "postgres", port, durable=False)
    try:
        server.start()
        server.wait_ready()
        yield PostgresServer(server)
    finally:
        server.kill()


@pytest.fixture
def fresh_database(postgres: PostgresServer) -> Iterator[str]:
    """URL of a new empty database, gone after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres.server.create_database(name)
    yield postgres.server.url(name)
    postgres.server.drop_database(name)


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """Name of a database that the migrations built, to copy from."""
    name = "migrated"
    postgres.server.create_database(name)
    asyncio.run(db.upgrade(postgres.server.url(name)))
    return name


@pytest.fixture
def migrated_database(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """URL of a new database with all tables and no rows, gone after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres.server.create_database(name, template=migrated_template)
    yield postgres.server.url(name)
    postgres.server.drop_database(name)


@pytest.fixture
def clean_topics(kafka: LocalKafka) -> LocalKafka:
    """The session's broker with all of the project's topics made anew and nothing else on it."""
    kafka.delete_all_topics()
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    report = asyncio.run(
        topics.apply(
            kafka.bootstrap,
            partitions=defaults["topic_partitions"],
            replication=defaults["topic_replication"],
            app_id=defaults["engine_app_id"],
        )
    )
    assert not report.refused
    assert not report.differences
    return kafka


@pytest.fixture
def service_env(kafka: LocalKafka, migrated_database: str, tmp_path: Path) -> dict[str, str]:
    """Environment for services as processes: this session's servers, a migrated database, free ports, an own folder."""
    names = [
        "EBBTIDE_API_PORT",
        "EBBTIDE_INGEST_PORT",
        *(f"EBBTIDE_METRICS_PORT_{name}" for name in ("INGEST", "ENGINE", "RECORDER", "API", "DELIVERY")),
    ]
    ports = dict(zip(names, map(str, free_ports(len(names))), strict=True))
    return (
        clean_environment()
        | ports
        | {
            "EBBTIDE_DATA_DIR": str(tmp_path / "ebbtide"),
            "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "EBBTIDE_DATABASE_URL": migrated_database,
            "PYTHONUNBUFFERED": "1",
        }
    )


def clean_environment() -> dict[str, str]:
    """This process's environment without any setting of the project that a developer may have exported."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EBBTIDE_")}
