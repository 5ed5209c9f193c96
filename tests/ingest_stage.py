"""What the tests of ingest share: one running ingest for a module, reading topics, and a proxy that loses answers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

from services.common import db, keys
from services.common.kafka import end_offsets
from tests.conftest import clean_environment
from tests.harness import Service, ebbtide, free_ports, start_service


def read_topic(bootstrap: str, topic: str) -> list[Any]:
    """Every record of a topic, by partition and offset."""

    async def read() -> list[Any]:
        # Asked of the broker: a consumer's own list of a topic that was just made anew may still be empty.
        ends = await end_offsets(bootstrap, [topic])
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign(list(ends))
            await consumer.seek_to_beginning(*ends)
            records: list[Any] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records += batch
            return sorted(records, key=lambda record: (record.partition, record.offset))
        finally:
            await consumer.stop()

    return asyncio.run(read())


def headers_of(record: Any) -> dict[str, str]:
    """A record's headers as text."""
    return {name: value.decode() for name, value in record.headers}


def event(
    event_id: str, type_name: str = "usage.logged_in", subject: str | None = "acme", **data: Any
) -> dict[str, Any]:
    """One structured CloudEvent, of now."""
    made = {
        "specversion": "1.0",
        "id": event_id,
        "source": "test",
        "type": type_name,
        "subject": subject,
        "time": dt.datetime.now(dt.UTC).isoformat(),
        "data": data or {"user": "u1"},
    }
    return {name: value for name, value in made.items() if value is not None}


async def _new_key(url: str, source: str) -> str:
    engine = db.create_engine(url, process="test")
    try:
        return (await keys.create(engine, ["ingest"], source=source)).secret
    finally:
        await engine.dispose()


@dataclass
class Stage:
    """One ingest on the session's servers, with the keys that tests asked for."""

    service: Service
    env: dict[str, str]
    bootstrap: str
    keys: dict[str, str] = field(default_factory=dict)

    def key(self, source: str) -> str:
        """The write key of `source`, made on first use."""
        if source not in self.keys:
            self.keys[source] = asyncio.run(_new_key(self.env["EBBTIDE_DATABASE_URL"], source))
        return self.keys[source]

    def read(self, topic: str) -> list[Any]:
        """Every record of a topic."""
        return read_topic(self.bootstrap, topic)


@contextlib.contextmanager
def stage(kafka: Any, postgres: Any, template: str, folder: Path, **settings: str) -> Iterator[Stage]:
    """A running ingest on fresh topics and a fresh database. `settings` are further variables without EBBTIDE_."""
    kafka.delete_all_topics()
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres.server.create_database(name, template=template)
    port, metrics = free_ports(2)
    env = clean_environment() | {
        "EBBTIDE_DATA_DIR": str(folder / "ebbtide"),
        "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "EBBTIDE_DATABASE_URL": postgres.server.url(name),
        "EBBTIDE_INGEST_PORT": str(port),
        "EBBTIDE_METRICS_PORT_INGEST": str(metrics),
        "PYTHONUNBUFFERED": "1",
    }
    env |= {f"EBBTIDE_{variable.upper()}": value for variable, value in settings.items()}
    ebbtide("topics", "apply", env=env)
    running = Stage(start_service("ingest", env), env, kafka.bootstrap)
    try:
        yield running
        assert running.service.stop() == 0, running.service.tail()
    finally:
        running.service.kill()
        postgres.server.drop_database(name)


class LosesAnswers:
    """A TCP proxy before ingest that reads the first `lost` answers to the end and closes without passing them on."""

    def __init__(self, port: int, lost: int) -> None:
        self._target = port
        self._left = lost
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.answers_lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> LosesAnswers:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            with contextlib.suppress(OSError):
                while data := server.recv(65536):
                    with self._lock:
                        lose = self._left > 0
                        if lose:
                            self._left -= 1
                            self.answers_lost += 1
                    if lose:
                        # A short answer comes in one piece: Kafka has acknowledged, the client never hears of it.
                        for end in (client, server):
                            end.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(data)

    @staticmethod
    def _pass_on(client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
