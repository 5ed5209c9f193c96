"""Postgres dies under load and comes back: ingest goes on, the api says so, and the recorder ends equal to the topics."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from services.common import db
from tests.faults import log
from tests.harness import Service, free_ports, http_status, new_key, start_service, wait_for

BATCH = 20
ACCOUNTS = 40


@pytest.fixture
def own_postgres(session_folder: Path) -> Iterator[LocalPostgres]:
    """A database server to kill, with all tables."""
    (port,) = free_ports(1)
    server = LocalPostgres(session_folder / f"killed-{port}", port)
    try:
        server.start()
        server.wait_ready()
        asyncio.run(db.upgrade(server.url()))
        yield server
    finally:
        server.kill()


class Posting:
    """Batches of events to ingest until `finish`, as a client that sends a batch again until it was accepted."""

    def __init__(self, ingest: Service, key: str) -> None:
        self.accepted: dict[str, str] = {}
        """Type by id of every event that ingest accepted."""
        self.problems: list[str] = []
        self._request = f"{ingest.url}/v1/events"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"}
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in itertools.count():
            batch = [self._event(number * BATCH + place) for place in range(BATCH)]
            while not self._enough.wait(0.05):
                try:
                    for result in post(self._request, self._headers, batch)["results"]:
                        assert result["status"] == "accepted", result
                except (OSError, AssertionError) as error:
                    self.problems.append(repr(error))
                    continue
                self.accepted |= {event["id"]: event["type"] for event in batch}
                break
            if self._enough.is_set():
                return

    @staticmethod
    def _event(number: int) -> dict[str, Any]:
        account = f"account-{number % ACCOUNTS}"
        kind, data = [
            ("survey.answered", {"survey_id": f"s{number}", "kind": "nps", "score": number % 11, "user": f"u{number}"}),
            ("ticket.opened", {"ticket_id": f"t{number}", "priority": "P3"}),
            ("usage.feature_used", {"feature": "reports", "user": "u1"}),
        ][number % 3]
        now = dt.datetime.now(dt.UTC).isoformat()
        event = {"specversion": "1.0", "id": f"e{number}", "source": "test", "type": kind, "subject": account}
        return event | {"time": now, "data": data}

    def finish(self) -> None:
        """Send no more."""
        self._enough.set()
        self._thread.join()


def post(url: str, headers: dict[str, str], body: object) -> Any:
    """The answer to a JSON request. Raises OSError."""
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=15) as answer:
        return json.load(answer)


def refusal(url: str, headers: dict[str, str], body: object | None = None) -> tuple[int, str]:
    """Status and body of a request that is refused."""
    data = None if body is None else json.dumps(body).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers), timeout=15)
    with caught.value as error:
        return error.code, error.read().decode()


def test_postgres_killed_for_8_seconds(
    clean_topics: LocalKafka, own_postgres: LocalPostgres, service_env: dict[str, str]
) -> None:
    """Rows and offsets in two transactions would lose or double what was in hand; a key looked up for every request
    would make the whole front door depend on the database."""
    kill_postgres(clean_topics, own_postgres, service_env, away_s=8.0)


@pytest.mark.long
def test_postgres_killed_for_a_minute_twice(
    clean_topics: LocalKafka, own_postgres: LocalPostgres, service_env: dict[str, str]
) -> None:
    """Longer than every timeout and pause; and once more, while the recorder is still behind."""
    kill_postgres(clean_topics, own_postgres, service_env, away_s=60.0, times=2)


def kill_postgres(
    kafka: LocalKafka, server: LocalPostgres, service_env: dict[str, str], *, away_s: float, times: int = 1
) -> None:
    """Every process is real; the write key is trusted for a second only, so that it has to be asked for meanwhile."""
    env = service_env | {"EBBTIDE_DATABASE_URL": server.url(), "EBBTIDE_INGEST_KEY_CACHE_S": "1"}
    started = [start_service(name, env) for name in ("engine", "recorder", "ingest", "api")]
    engine, recorder, ingest, api = started
    try:
        key, second_key = (new_key(env, "ingest", source=name) for name in ("one", "two"))
        read = {"Authorization": f"Bearer {new_key(env, 'read')}"}
        posting = Posting(ingest, key)
        try:
            wait_for("transitions in the database", lambda: recorded(server, "transitions") > 0)
            for _ in range(times):
                server.kill()
                before = len(posting.accepted)
                wait_for("the recorder says it", lambda: http_status(f"{recorder.url}/readyz") == 503)
                time.sleep(away_s - 3)
                # The front door is open to whom it knows, and tells others to come back; reading says what is wrong.
                assert len(posting.accepted) - before > 10 * BATCH, posting.problems[:3]
                second = {"Authorization": f"Bearer {second_key}", "Content-Type": "application/json"}
                for url, headers, body, wanted in (
                    (f"{ingest.url}/v1/events", second, [], "send it again"),
                    (f"{api.url}/v1/signals", read, None, "database does not answer"),
                ):
                    status, said = refusal(url, headers, body)
                    assert status == 503
                    assert wanted in said
                assert http_status(f"{api.url}/livez") == 200
                assert http_status(f"{api.url}/readyz") == 503
                time.sleep(3)
                server.start()
                server.wait_ready()
                wait_for("recording again", lambda: http_status(f"{recorder.url}/readyz") == 200)
                if times > 1:
                    time.sleep(1)
        finally:
            posting.finish()
        assert not posting.problems, posting.problems[:3]
        wait_for("the engine is through", lambda: behind(engine) == 0, within=60)
        assert engine.stop() == 0  # what it says is whole now, and its ticks move nothing on
        wait_for("the recorder is through", lambda: offsets(server) == ends(kafka), within=60, every=0.3)
        assert_equal(kafka, server, posting.accepted)
        assert http_status(f"{api.url}/readyz") == 200
        assert all(service.process.poll() is None for service in (recorder, ingest, api))
        for service in (recorder, ingest, api):
            assert len(service.log.read_text().splitlines()) < 200, service.tail(100)
    finally:
        for service in started:
            service.kill()


def assert_equal(kafka: LocalKafka, server: LocalPostgres, accepted: dict[str, str]) -> None:
    """What the database holds is what the topics hold, each thing once."""
    inputs = log.read(kafka.bootstrap, log.TICKS_AND_EVENTS)
    sent = {json.loads(record.value or b"")["id"] for record in inputs if record.key is not None}
    assert sent >= accepted.keys(), "accepted and not on a topic"
    said = {}
    for record in log.read(kafka.bootstrap, log.SIGNALS):
        change = json.loads(record.value or b"")
        said[change["id"]] = change
    rows = query(server, "SELECT episode_id, ordinal, body FROM transitions")
    assert len(rows) == len(said)
    assert {f"{episode}-{ordinal}": json.loads(body) for episode, ordinal, body in rows} == said
    health = {}
    for record in log.read(kafka.bootstrap, [log.HEALTH]):
        assert record.key is not None
        health[record.key.decode()] = json.loads(record.value or b"")["sequence"]
    assert dict(query(server, "SELECT account_id, sequence FROM account_health")) == health
    shown = {
        json.loads(record.value or b"")["id"]
        for record in inputs
        if record.key is not None and record.topic in ("tickets", "engagement")
    }
    timeline = [name for (name,) in query(server, "SELECT event_id FROM timeline")]
    assert len(timeline) == len(set(timeline))
    assert set(timeline) == shown
    assert not query(server, "SELECT * FROM recorder_refused")


def query(server: LocalPostgres, statement: str) -> list[Any]:
    """All rows of a query."""

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(server.url())
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(ask())


def recorded(server: LocalPostgres, table: str) -> int:
    """Rows of a table."""
    return int(query(server, f"SELECT count(*) FROM {table}")[0][0])


def offsets(server: LocalPostgres) -> dict[tuple[str, int], int]:
    """How far the recorder is."""
    rows = query(server, "SELECT topic, partition, next_offset FROM recorder_offsets WHERE next_offset > 0")
    return {(topic, number): at for topic, number, at in rows}


def ends(kafka: LocalKafka) -> dict[tuple[str, int], int]:
    """Where the recorder's topics end."""
    found: dict[tuple[str, int], int] = {}
    for record in log.read(kafka.bootstrap, [*log.TICKS_AND_EVENTS, *log.SIGNALS, log.HEALTH]):
        found[record.topic, record.partition] = record.offset + 1
    return found


def behind(engine: Service) -> int:
    """Records of the input topics that the engine has not applied, as it says itself."""
    with urllib.request.urlopen(f"{engine.url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(round(float(line.split()[-1])) for line in lines if line.startswith("ebbtide_engine_lag_records{"))
