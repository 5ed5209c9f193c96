"""The api as a process on a database of its own that holds given records, and its clients."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from services.common import db, keys
from services.signals.recorder.main import write_events, write_signals
from services.signals.recorder.records import SIGNAL_TOPICS, TIMELINE_TOPICS, event_row, signal_row
from tests.conftest import PostgresServer, clean_environment
from tests.harness import Service, free_ports, start_service
from tests.recorded import Stored


async def fill(url: str, found: Sequence[Stored]) -> None:
    """Record these in the order given: signals and health, then what belongs in a history."""
    connection = await db.connect(url, process="test")
    try:
        async with connection.transaction():
            await write_signals(connection, [signal_row(r) for r in found if r.topic in SIGNAL_TOPICS])
            events = [event_row(r) for r in found if r.topic in TIMELINE_TOPICS]
            await write_events(connection, [row for row in events if row is not None])
    finally:
        await connection.close()


class Api:
    """The running api, its database, and clients with keys of each scope."""

    def __init__(self, service: Service, env: dict[str, str], url: str) -> None:
        self.service = service
        self.env = env
        self.url = url
        self.client = self.with_key(self.new_key("read"))

    def new_key(self, scope: str, *, source: str | None = None, revoked: bool = False) -> str:
        async def make() -> str:
            engine = db.create_engine(self.url, process="test", pool_size=1)
            made = await keys.create(engine, [scope], source=source)
            if revoked:
                assert await keys.revoke(engine, made.key.id)
            await engine.dispose()
            return made.secret

        return asyncio.run(make())

    def with_key(self, key: str | None) -> httpx.Client:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.service.url, headers=headers, timeout=20)

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def every(self, path: str, **parameters: Any) -> list[Any]:
        """The items of all pages."""
        items: list[Any] = []
        for _ in range(1000):
            page = self.get(path, **parameters)
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            parameters["cursor"] = page["next_cursor"]
        raise AssertionError("pages without end")


@contextmanager
def served(
    postgres: PostgresServer, template: str, folder: Path, found: Sequence[Stored] = (), **settings: str
) -> Iterator[Api]:
    """The api on a new database (a copy of `template`) with these records; both are gone after, the api without a fault.

    `settings`: environment variables on top of the usual ones.
    """
    name = f"served_{uuid.uuid4().hex[:12]}"
    postgres.server.create_database(name, template=template)
    url = postgres.server.url(name)
    asyncio.run(fill(url, found))
    port, metrics_port = free_ports(2)
    env = clean_environment() | {
        "EBBTIDE_DATA_DIR": str(folder),
        "EBBTIDE_DATABASE_URL": url,
        "EBBTIDE_API_PORT": str(port),
        "EBBTIDE_METRICS_PORT_API": str(metrics_port),
    }
    service = start_service("api", env | settings)
    try:
        api = Api(service, env, url)
        yield api
        api.client.close()
    finally:
        code = service.stop()
        postgres.server.drop_database(name)
    assert code == 0, service.tail()


def path_of(account_id: str, rest: str = "") -> str:
    """The path of an account, or of something of it."""
    return f"/v1/accounts/{quote(account_id, safe='')}{rest}"


def problem(answer: httpx.Response, status: int) -> Any:
    """The body of an answer that has to be a problem of this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:ebbtide:problem:")
    assert body["title"]
    assert body["detail"]
    return body
