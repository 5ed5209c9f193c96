"""Dead letters and the live view over HTTP, on a real broker and database, with a real engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from deploy.local.kafka import LocalKafka
from services.common import db, keys, topics
from services.common.dead_letters import Identity
from services.common.http_server import SHUTDOWN_S
from services.common.kafka import partition_of
from tests.conftest import PostgresServer, clean_environment
from tests.harness import Service, free_ports, http_status, start_service, wait_for
from tests.letters import GROUP, PARTITIONS, produce, refused, used


class Running:
    """The api and the engine, and clients with keys."""

    def __init__(self, kafka: LocalKafka, api: Service, env: dict[str, str]) -> None:
        self.kafka = kafka
        self.api = api
        self._database = env["EBBTIDE_DATABASE_URL"]
        secrets = asyncio.run(self._keys())
        self.reader, self.operator, self.admin = (
            httpx.Client(base_url=api.url, headers={"authorization": f"Bearer {secret}"}, timeout=30)
            for secret in secrets
        )

    async def _keys(self) -> list[str]:
        engine = db.create_engine(self._database, process="test", pool_size=1)
        made = [(await keys.create(engine, [scope])).secret for scope in ("read", "operate", "admin")]
        await engine.dispose()
        return made

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


@pytest.fixture(scope="module")
def running(
    kafka: LocalKafka, postgres: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """One engine and one api for the module: they take longer to start than to be asked."""
    kafka.delete_all_topics()
    asyncio.run(topics.apply(kafka.bootstrap, partitions=PARTITIONS, replication=1, app_id=GROUP))
    postgres.server.create_database("operations", template=migrated_template)
    ports = free_ports(3)
    names = ("EBBTIDE_API_PORT", "EBBTIDE_METRICS_PORT_API", "EBBTIDE_METRICS_PORT_ENGINE")
    env = clean_environment() | dict(zip(names, map(str, ports), strict=True))
    env |= {
        "EBBTIDE_DATA_DIR": str(tmp_path_factory.mktemp("operations")),
        "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "EBBTIDE_DATABASE_URL": postgres.server.url("operations"),
    }
    with contextlib.ExitStack() as stack:
        engine = start_service("engine", env, ready=False)
        stack.callback(engine.kill)
        api = start_service("api", env)
        stack.callback(api.kill)
        wait_for("engine ready", lambda: http_status(f"{engine.url}/readyz") == 200, within=60)
        made = Running(kafka, api, env)
        for client in (made.reader, made.operator, made.admin):
            stack.callback(client.close)
        yield made
    postgres.server.drop_database("operations")


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
    assert running.audited()[-1] == "dead_letter.revealed"

    # Filters and pages.
    assert [one["id"] for one in running.letters(reason="malformed")] == [newest["id"]]
    assert running.letters(source="app-us") == []
    assert [one["id"] for one in running.letters(key="acme", field="data.count")] == [older["id"]]
    assert running.letters(until=older["at"]) == []
    page = running.reader.get("/v1/dead-letters", params={"limit": 1}).json()
    following = running.reader.get("/v1/dead-letters", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [page["items"][0]["id"], following["items"][0]["id"]] == [newest["id"], older["id"]]
    # How far back a page is known, also where nothing matched.
    assert page["looked"] == {"letters": 1, "since": newest["at"]}
    nothing = running.reader.get("/v1/dead-letters", params={"source": "app-us"}).json()
    assert nothing == {"items": [], "next_cursor": None, "looked": {"letters": 2, "since": older["at"]}}
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
    produce(running.kafka, ("dead-letters", b"acme", good, refused(9_000)))
    place = str(Identity("usage", partition_of(b"acme", 4), 9_000))
    done = running.replay(id=place)
    assert (done["sent"], done["fixed"], done["failed_again"], done["waiting"]) == (1, 1, 0, 0)
    assert running.operator.post("/v1/dead-letters/replay", json={"id": "usage/0/123456"}).status_code == 404
    assert running.replay(id=running.letters(limit=1)[0]["place"], again=True)["sent"] == 1


def heard(answer: httpx.Response, until: Callable[[list[tuple[str, Any]]], bool]) -> list[tuple[str, Any]]:
    """Events of a stream (name, data) as they come, until that holds."""
    found: list[tuple[str, Any]] = []
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
            if until(found):
                return found
    raise AssertionError(f"the stream ended: {found}")


def test_events_are_watched_with_what_became_of_them(running: Running) -> None:
    with contextlib.ExitStack() as stack:
        watched = stack.enter_context(running.reader.stream("GET", "/v1/live", params={"account": "acme"}))
        assert watched.status_code == 200
        assert watched.headers["content-type"] == "text/event-stream; charset=utf-8"
        produce(
            running.kafka,
            ("usage", b"birk", used(1, account="birk"), {}),
            ("usage", b"acme", used(2), {}),
            ("usage", b"acme", used(3, count="many"), {}),
        )
        found = heard(watched, lambda told: sum(name == "verdict" for name, _ in told) == 2)
        shown = {data["event_id"]: data for name, data in found if name == "input"}
        verdicts = {
            data["id"]: (data["verdict"], data["reason"], data["field"]) for name, data in found if name == "verdict"
        }
        assert set(shown) == {"use-2", "use-3"}  # only the account that was asked for, and no tick
        assert verdicts[shown["use-2"]["id"]] == ("applied", "", "")
        assert verdicts[shown["use-3"]["id"]] == ("dead_letter", "invalid", "data.count")
        assert "jane" not in json.dumps(found)
        assert shown["use-2"]["payload"]["data"]["user_id"] == "<text, 17 characters>"
        assert running.reader.get("/v1/live", params={"reveal": "true"}).status_code == 403

        # The first left once it had heard enough. Five watch, the sixth is told so; one who leaves makes room.
        others: list[httpx.Response] = []

        def five_watch() -> bool:
            answer = stack.enter_context(running.reader.stream("GET", "/v1/live"))
            if answer.status_code == 200:
                others.append(answer)
            return len(others) == 5

        wait_for("five to watch", five_watch)
        too_many = running.reader.get("/v1/live")
        assert (too_many.status_code, too_many.json()["detail"].split(",")[0]) == (503, "5 watch already")
        others.pop().close()
        wait_for("room for another", lambda: _opens(running))

        # Open streams end by themselves: nobody waits for the time that requests in hand are given.
        began = time.monotonic()
        assert running.api.stop() == 0, running.api.tail()
        assert time.monotonic() - began < SHUTDOWN_S


def _opens(running: Running) -> bool:
    with running.reader.stream("GET", "/v1/live") as answer:
        return answer.status_code == 200
