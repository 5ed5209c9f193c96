"""Dead letters and the live view over HTTP, on a real broker and database, with a real engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.kafka import LocalKafka
from services.common import db
from services.common.dead_letters import Identity
from services.common.kafka import partition_of
from tests.harness import Service, new_key, start_service, wait_for


def used(n: int, *, count: object = 1, account: str = "acme") -> bytes:
    """A use of a feature by one of acme's people, just now."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"use-{n}",
            "source": "app-eu",
            "type": "usage.feature_used",
            "subject": account,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": {"user_id": "jane@acme.example", "feature": "reports", "count": count},
        }
    ).encode()


def produce(kafka: LocalKafka, *records: tuple[str, bytes | None, bytes, dict[str, str]]) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
        await producer.start()
        for topic, key, value, headers in records:
            await producer.send_and_wait(
                topic, value, key, headers=[(name, text.encode()) for name, text in headers.items()]
            )
        await producer.stop()

    asyncio.run(send())


def refused(offset: int, value: bytes, reason: str = "invalid", field: str = "data.count") -> dict[str, str]:
    """The headers of a dead letter from the topic usage."""
    return {
        "reason": reason,
        "field": field,
        "detail": "mend it",
        "source_topic": "usage",
        "source_partition": str(partition_of(b"acme", 4)),
        "source_offset": str(offset),
        "failed_at": "2026-05-01T00:00:00Z",
    }


class Running:
    """The api and the engine, and clients with keys."""

    def __init__(self, kafka: LocalKafka, api: Service, env: dict[str, str]) -> None:
        self.kafka = kafka
        self.api = api
        self._database = env["EBBTIDE_DATABASE_URL"]
        self.reader = self._client(new_key(env, "read"))
        self.operator = self._client(new_key(env, "operate"))
        self.admin = self._client(new_key(env, "admin"))

    def _client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.api.url, headers={"authorization": f"Bearer {key}"}, timeout=30)

    def letters(self, **parameters: Any) -> list[dict[str, Any]]:
        answer = self.reader.get("/v1/dead-letters", params=parameters)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def audited(self) -> list[str]:
        async def read() -> list[str]:
            connection = await db.connect(self._database, process="test")
            try:
                return [row["action"] for row in await connection.fetch("SELECT action FROM audit ORDER BY entry")]
            finally:
                await connection.close()

        return asyncio.run(read())

    def replay(self, **asked: Any) -> dict[str, Any]:
        answer = self.operator.post("/v1/dead-letters/replay", json=asked)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
def running(clean_topics: LocalKafka, service_env: dict[str, str]) -> Iterator[Running]:
    engine = start_service("engine", service_env)
    api = start_service("api", service_env)
    try:
        yield Running(clean_topics, api, service_env)
    finally:
        api.kill()
        engine.kill()


def test_refused_records_are_seen_by_group_and_go_back_once(running: Running) -> None:
    bad = used(1, count="many")
    produce(running.kafka, ("usage", b"acme", bad, {}), ("usage", b"acme", b"\xff not JSON", {}))
    wait_for("two dead letters", lambda: len(running.letters()) == 2)
    newest, older = running.letters()
    assert (newest["reason"], newest["payload"], newest["text"]) == ("malformed", "<10 bytes that are not JSON>", None)
    assert (older["reason"], older["field"], older["source"], older["key"]) == (
        "invalid",
        "data.count",
        "app-eu",
        "acme",
    )
    assert older["payload"]["type"] == "usage.feature_used"
    assert older["payload"]["data"]["user_id"] == "<text, 17 characters>"
    assert "jane" not in json.dumps(older)

    # What a person may be read from is for who may see it, and that is kept.
    assert running.operator.get("/v1/dead-letters", params={"reveal": "true"}).status_code == 403
    revealed = running.admin.get("/v1/dead-letters", params={"reveal": "true"}).json()["items"]
    assert revealed[1]["payload"] == json.loads(bad)
    assert revealed[0]["text"] == "\ufffd not JSON"
    assert running.audited() == ["dead_letter.revealed"]

    # Filters and pages.
    assert [one["id"] for one in running.letters(reason="malformed")] == [newest["id"]]
    assert running.letters(source="app-us") == []
    assert [one["id"] for one in running.letters(key="acme", field="data.count")] == [older["id"]]
    assert running.letters(until=older["at"]) == []
    page = running.reader.get("/v1/dead-letters", params={"limit": 1}).json()
    following = running.reader.get("/v1/dead-letters", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [page["items"][0]["id"], following["items"][0]["id"]] == [newest["id"], older["id"]]
    groups = running.reader.get("/v1/dead-letters/groups").json()
    assert {(g["reason"], g["source"], g["field"], g["count"]) for g in groups["items"]} == {
        ("invalid", "app-eu", "data.count", 1),
        ("malformed", "", "", 1),
    }
    assert (groups["counted"], groups["held"]) == (2, 2)

    # A preview sends nothing; a replay sends each once; what is still wrong is told to have failed again.
    assert running.reader.post("/v1/dead-letters/replay", json={"reason": "invalid"}).status_code == 403
    assert running.operator.post("/v1/dead-letters/replay", json={}).status_code == 400
    preview = running.replay(reason="invalid", preview=True)
    assert (preview["chosen"], preview["sent"], preview["sample"][0]["id"]) == (1, 0, older["id"])
    done = running.replay(reason="invalid")
    assert (done["sent"], done["fixed"], done["failed_again"], done["waiting"]) == (1, 0, 1, 0)
    twice = running.replay(id=older["id"])
    assert (twice["chosen"], twice["left_out"], twice["sent"]) == (0, 1, 0)
    assert running.letters(reason="invalid")[-1]["replayed"] == 1

    # One that was refused by a rule that has changed since is fixed.
    good = used(2)
    produce(running.kafka, ("dead-letters", b"acme", good, refused(9_000, good)))
    place = str(Identity("usage", partition_of(b"acme", 4), 9_000))
    done = running.replay(id=place)
    assert (done["sent"], done["fixed"], done["failed_again"], done["waiting"]) == (1, 1, 0, 0)
    assert running.operator.post("/v1/dead-letters/replay", json={"id": "usage/0/123456"}).status_code == 404
    assert running.replay(id=running.letters(limit=1)[0]["place"], again=True)["sent"] == 1
