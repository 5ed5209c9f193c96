"""A broker and a database of a benchmark's own, on free ports, with all topics and tables; gone at its end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from services.common import db
from tests.conftest import clean_environment
from tests.harness import ebbtide, free_ports

LISTENERS = (
    "EBBTIDE_API_PORT",
    "EBBTIDE_INGEST_PORT",
    *(f"EBBTIDE_METRICS_PORT_{name}" for name in ("INGEST", "ENGINE", "RECORDER", "API", "DELIVERY")),
)


@contextlib.contextmanager
def servers(*, durable: bool = True) -> Iterator[dict[str, str]]:
    """The environment of services that use them. `durable`: the database waits for its disk, as it does in production."""
    folder = Path(tempfile.mkdtemp(prefix="ebbtide-bench-"))
    kafka_port, controller_port, postgres_port, *listeners = free_ports(3 + len(LISTENERS))
    broker = LocalKafka(folder / "kafka", kafka_port, controller_port)
    database = LocalPostgres(folder / "postgres", postgres_port, durable=durable)
    env = clean_environment() | {
        "EBBTIDE_DATA_DIR": str(folder / "ebbtide"),
        "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
        "PYTHONUNBUFFERED": "1",
        **dict(zip(LISTENERS, map(str, listeners), strict=True)),
    }
    with contextlib.ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        ends.callback(broker.kill)
        broker.start()
        ends.callback(database.kill)
        database.start()
        database.wait_ready()
        database.create_database("bench")
        env["EBBTIDE_DATABASE_URL"] = database.url("bench")
        asyncio.run(db.upgrade(env["EBBTIDE_DATABASE_URL"]))
        broker.wait_ready()
        ebbtide("topics", "apply", env=env)
        yield env
