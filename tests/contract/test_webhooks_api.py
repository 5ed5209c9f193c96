"""`/v1/webhooks` as its owner meets it: a real server on a real database."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.common import db, keys
from services.signals.recorder.main import write_signals
from services.signals.recorder.records import signal_row
from tests.conftest import PostgresServer, clean_environment
from tests.harness import Service, free_ports, start_service
from tests.recorded import transition

PUBLIC = "https://93.184.216.34/hook"
NOW = dt.datetime.now(dt.UTC)


class Api:
    """The running api with an admin's client."""

    def __init__(self, service: Service, url: str) -> None:
        self.url = url
        self.service = service
        self.clients: list[httpx.Client] = []
        self.client = self.with_scope("admin")

    def with_scope(self, scope: str) -> httpx.Client:
        async def make() -> str:
            engine = db.create_engine(self.url, process="test", pool_size=1)
            made = await keys.create(engine, [scope], name="ops")
            await engine.dispose()
            return made.secret

        headers = {"authorization": f"Bearer {asyncio.run(make())}"}
        self.clients.append(httpx.Client(base_url=self.service.url, headers=headers, timeout=20))
        return self.clients[-1]

    def query(self, statement: str, *arguments: object) -> list[Any]:
        async def ask() -> list[Any]:
            connection = await db.connect(self.url, process="test")
            try:
                return list(await connection.fetch(statement, *arguments))
            finally:
                await connection.close()

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def api(postgres: PostgresServer, migrated_template: str, session_folder: Path) -> Iterator[Api]:
    postgres.server.create_database("webhooks_api", template=migrated_template)
    url = postgres.server.url("webhooks_api")
    port, metrics_port = free_ports(2)
    env = clean_environment() | {
        "EBBTIDE_DATA_DIR": str(session_folder / "webhooks_api"),
        "EBBTIDE_DATABASE_URL": url,
        "EBBTIDE_API_PORT": str(port),
        "EBBTIDE_METRICS_PORT_API": str(metrics_port),
    }
    service = start_service("api", env)
    try:
        made = Api(service, url)
        yield made
        for client in made.clients:
            client.close()
    finally:
        service.stop()
        postgres.server.drop_database("webhooks_api")


def made(api: Api, **more: Any) -> dict[str, Any]:
    answer = api.client.post("/v1/webhooks", json={"url": PUBLIC} | more)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/webhooks/{body['webhook_id']}"
    return body


def test_the_secret_is_shown_once_and_by_asking_for_it(api: Api) -> None:
    hook = made(api, description="on call", filters={"severity": "critical", "signals": ["usage.*"]})
    path = f"/v1/webhooks/{hook['webhook_id']}"
    assert hook["secret"].startswith("whsec_")
    shown = api.client.get(path).json()
    assert shown == {name: value for name, value in hook.items() if name != "secret"}
    assert shown["filters"]["types"] == ["signal.raised", "signal.escalated", "signal.cleared"]
    assert hook["secret"] not in api.client.get("/v1/webhooks").text
    assert api.client.post(f"{path}/reveal").json()["secret"] == hook["secret"]
    rotated = api.client.post(f"{path}/rotate", json={"overlap_hours": 1}).json()
    assert rotated["previous_secret"] == hook["secret"] != rotated["secret"]
    at_once = api.client.post(f"{path}/rotate", json={"overlap_hours": 0}).json()
    assert (at_once["previous_secret"], at_once["previous_secret_until"]) == (None, None)
    audit = api.query(
        "SELECT actor, action, detail::text FROM audit WHERE subject = $1 ORDER BY entry", hook["webhook_id"]
    )
    assert [row[:2] for row in map(tuple, audit)] == [
        ("key:ops", "webhook.created"),
        ("key:ops", "webhook.secret_revealed"),
        ("key:ops", "webhook.secret_rotated"),
        ("key:ops", "webhook.secret_rotated"),
    ]
    assert "whsec_" not in str(audit)
    assert "/hook" not in str(audit)  # a path may be a secret


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"url": "http://93.184.216.34/"}, "url", "https"),
        ({"url": "https://127.0.0.1/"}, "url", "loopback"),
        ({"url": "https://localhost/"}, "url", "loopback"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "url", "private"),
        ({"url": "https://0x7f.1/"}, "url", "form"),
        ({"url": "https://me:secret@93.184.216.34/"}, "url", "password"),
        ({"url": PUBLIC, "secret": "whsec_c2hvcnQ="}, "secret", "24 to 64"),
        ({"url": PUBLIC, "filters": {"signals": ["Usage *"]}}, "filters.signals.0", "pattern"),
        ({"url": PUBLIC, "filters": {"types": ["signal.exploded"]}}, "filters.types.0", "Input"),
        ({"url": PUBLIC, "secrets": "x"}, "secrets", "no such"),
    ],
)
def test_what_is_refused_says_why(api: Api, body: dict[str, Any], field: str, said: str) -> None:
    answer = api.client.post("/v1/webhooks", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == field
    assert said in answer.json()["detail"]


def test_only_an_admin_may_see_or_change_webhooks(api: Api) -> None:
    operator = api.with_scope("operate")
    assert operator.get("/v1/webhooks").status_code == 403
    assert operator.post("/v1/webhooks", json={"url": PUBLIC}).status_code == 403
    assert api.client.get("/v1/webhooks/wh_none").status_code == 404


def test_a_webhook_is_changed_disabled_enabled_and_deleted(api: Api) -> None:
    path = f"/v1/webhooks/{made(api)['webhook_id']}"
    changed = api.client.patch(path, json={"format": "slack", "filters": {"tiers": ["high"]}}).json()
    assert (changed["format"], changed["filters"]["tiers"], changed["url"]) == ("slack", ["high"], PUBLIC)
    assert api.client.patch(path, json={"url": None}).status_code == 400
    disabled = api.client.post(f"{path}/disable").json()
    assert (disabled["enabled"], disabled["disabled_because"]) == (False, "asked")
    assert api.client.post(f"{path}/test").status_code == 409
    assert api.client.post(f"{path}/enable", params={"skip": True}).json()["enabled"] is True
    assert api.client.delete(path).status_code == 204
    assert api.client.delete(path).status_code == 404


def test_tests_and_redeliveries_are_queued_and_the_log_is_paged(api: Api) -> None:
    async def tell() -> None:
        connection = await db.connect(api.url, process="test")
        async with connection.transaction():
            records = [transition("acme", f"e{n}", 1, "raised", appended=NOW) for n in range(5)]
            await write_signals(connection, [signal_row(record) for record in records])
        await connection.close()

    hook = made(api)
    path = f"/v1/webhooks/{hook['webhook_id']}"
    asyncio.run(tell())
    assert api.client.get(path).json()["behind_since"] is not None
    nothing = api.client.post(f"{path}/redeliver", json={"from_id": 1, "to_id": 3})
    assert nothing.status_code == 400  # it is not that far
    first = api.query("SELECT min(id) FROM feed")[0][0]
    api.query("UPDATE webhooks SET cursor = $1 + 3 WHERE webhook_id = $2", first, hook["webhook_id"])
    part = api.client.post(f"{path}/redeliver", json={"since": (NOW - dt.timedelta(hours=1)).isoformat()})
    assert (part.status_code, part.json()) == (202, {"delivery_id": None, "from_id": first, "to_id": first + 3})
    both = api.client.post(f"{path}/redeliver", json={"from_id": 1, "since": NOW.isoformat()})
    assert both.status_code == 400
    for feed_id in range(first, first + 4):
        api.query(
            "INSERT INTO webhook_deliveries (webhook_id, message_id, feed_id, type, state, attempts) "
            "VALUES ($1, $2, $3, 'signal.raised', 'delivered', 1)",
            hook["webhook_id"],
            f"msg_{feed_id}",
            feed_id,
        )
    queued = api.client.post(f"{path}/test")
    assert queued.status_code == 202
    assert api.client.post(f"{path}/test").status_code == 409
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        found = api.client.get(f"{path}/deliveries", params=params).json()
        seen += found["items"]
        cursor = found["next_cursor"]
        if cursor is None:
            break
    assert [each["message_id"] for each in seen] == [
        queued.json()["message_id"],
        *(f"msg_{feed_id}" for feed_id in range(first + 3, first - 1, -1)),
    ]
    assert (seen[1]["account_id"], seen[1]["episode_id"], seen[1]["state"]) == ("acme", "e3", "delivered")
    assert [each["type"] for each in api.client.get(f"{path}/deliveries?state=queued").json()["items"]] == [
        "webhook.test"
    ]
    again = api.client.post(f"{path}/redeliver", json={"delivery_id": seen[1]["delivery_id"]})
    assert again.json()["delivery_id"] == seen[1]["delivery_id"]
    one = api.client.get(f"{path}/deliveries/{seen[1]['delivery_id']}").json()
    assert (one["state"], one["log"]) == ("queued", [])
    assert api.client.get(f"{path}/deliveries/999999").status_code == 404
    assert api.client.get(f"{path}/deliveries/x").status_code == 400
