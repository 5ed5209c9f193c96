"""The canary: it sings when an event became a signal, says at which stage one was lost, and nobody meets its account."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.kafka import LocalKafka
from schemas.canary import CANARY_PREFIX, CHANNEL
from services.common import db, metrics
from services.common.settings import Settings
from services.delivery.canary import Canary
from services.delivery.duty import Duty
from services.signals.recorder.canary import CanaryRow, signal_or_canary_row, without_canary
from services.signals.recorder.main import write_signals
from services.signals.recorder.records import event_row
from tests.harness import Service, new_key, start_service, wait_for
from tests.recorded import DAY_0, event, health, transition

WITHIN_S = 10.0
CANARY = f"{CANARY_PREFIX}0007"


class Ingest:
    """Answers like ingest, as it is told to, and keeps what it was sent."""

    def __init__(self) -> None:
        self.status = "accepted"
        self.code = 200
        self.sent: list[Any] = []
        ingest = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                events = json.loads(self.rfile.read(int(self.headers["content-length"])))
                ingest.sent.append((self.path, self.headers["authorization"], events))
                body = json.dumps({"results": [{"id": e["id"], "status": ingest.status} for e in events]}).encode()
                self.send_response(ingest.code)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    found = Ingest()
    found.thread.start()
    yield found
    found.server.shutdown()
    found.thread.join()
    found.server.server_close()


@pytest.fixture
async def connection(migrated_database: str) -> AsyncIterator[Any]:
    connection = await db.connect(migrated_database, process="test")
    yield connection
    await connection.close()


@pytest.fixture
async def singing(migrated_database: str, ingest: Ingest) -> AsyncIterator[None]:
    config = Settings(database_url=migrated_database, canary_ingest_url=ingest.url)
    often = config.model_copy(update={"canary_interval_s": 1.0})
    stop = asyncio.Event()
    task = asyncio.create_task(Duty("canary", often, Canary(often, "eb_key", signal_within_s=0.5).work).run(stop))
    yield
    stop.set()
    await task


async def until(what: str, probe: Any) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not probe():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


def heard(account: str, at: str, **change: str) -> str:
    return json.dumps({"account": account, "signal": "pilot.unready", "type": "signal.raised", "time": at} | change)


@pytest.mark.usefixtures("singing")
async def test_only_the_signal_of_its_own_event_counts(connection: Any, ingest: Ingest) -> None:
    lost, seen = metrics.CANARY_FAILURES.labels("signal")._value, metrics.CANARY_SECONDS._sum
    lost_before, seen_before, last_before = lost.get(), seen.get(), metrics.CANARY_LAST_SUCCESS._value.get()
    await until("sent", lambda: ingest.sent)
    path, key, events = ingest.sent[0]
    assert (path, key) == ("/v1/events", "Bearer eb_key")
    account, at = events[0]["subject"], events[0]["time"]
    assert account.startswith(CANARY_PREFIX)
    early = dt.datetime.fromisoformat(at) - dt.timedelta(seconds=1)
    # Of another account, of the day before, of another signal, a clear, and what is no such thing at all.
    for payload in (
        heard("_canary-x", at),
        heard(account, early.isoformat()),
        heard(account, at, signal="usage.decline"),
        heard(account, at, type="signal.cleared"),
        "hello",
    ):
        await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
    await until("given up", lambda: lost.get() == lost_before + 1)
    assert metrics.CANARY_LAST_SUCCESS._value.get() == last_before

    await until("sent again", lambda: len(ingest.sent) > 1)
    again = ingest.sent[1][2][0]
    assert again["subject"] != account
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, heard(again["subject"], again["time"]))
    await until("heard", lambda: metrics.CANARY_LAST_SUCCESS._value.get() > last_before)
    assert 0 <= seen.get() - seen_before < 0.5
    assert lost.get() == lost_before + 1


@pytest.mark.parametrize(("status", "code"), [("rejected", 200), ("retry", 200), ("accepted", 503)])
@pytest.mark.usefixtures("singing")
async def test_what_ingest_does_not_accept_is_a_failure_of_its_own(ingest: Ingest, status: str, code: int) -> None:
    ingest.status, ingest.code = status, code
    failed = metrics.CANARY_FAILURES.labels("accept")._value
    before = failed.get()
    await until("failed", lambda: failed.get() > before)


async def test_the_recorder_keeps_nothing_of_its_account(connection: Any) -> None:
    raised = transition(CANARY, "e1", 1, "raised", signal="pilot.unready")
    rows = [signal_or_canary_row(r) for r in (raised, health(CANARY, 1), transition("acme", "e2", 1, "raised"))]
    assert isinstance(rows[0], CanaryRow)
    assert rows[1] is None
    told: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener(CHANNEL, lambda *arguments: told.put_nowait(arguments[-1]))
    async with connection.transaction():
        await write_signals(connection, [row for row in rows if row is not None])
        assert told.empty()
    async with asyncio.timeout(WITHIN_S):
        assert json.loads(await told.get()) == {
            "account": CANARY,
            "signal": "pilot.unready",
            "type": "signal.raised",
            "time": DAY_0.isoformat().replace("+00:00", "Z"),
        }
    assert await connection.fetchval("SELECT array_agg(account_id) FROM episodes") == ["acme"]
    row = without_canary(event_row)
    assert row(event("tickets", "ticket.closed", CANARY, {"ticket_id": "1"}, id_="1")) is None
    assert row(event("tickets", "ticket.closed", "acme", {"ticket_id": "1"}, id_="1")) is not None


# --- the whole way -------------------------------------------------------------------------------------------------


def sample(url: str, name: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def test_an_event_goes_the_whole_way(service_env: dict[str, str], clean_topics: LocalKafka, tmp_path: Path) -> None:
    env = service_env | {
        "EBBTIDE_CANARY_WRITE_KEY": new_key(service_env, "ingest", source="ebbtide/canary"),
        "EBBTIDE_CANARY_INTERVAL_S": "10",
        "EBBTIDE_ENGINE_STORE": "memory",
    }
    running: list[Service] = []
    try:
        running += [start_service(name, env, ready=False) for name in ("engine", "recorder", "ingest")]
        delivery = start_service("delivery", env)
        running.append(delivery)
        wait_for("a signal", lambda: sample(delivery.url, "ebbtide_canary_seconds_count") >= 1, within=90)
        assert sample(delivery.url, "ebbtide_canary_last_success_timestamp_seconds") > 1.7e9
    finally:
        codes = [service.stop() for service in reversed(running)]
    assert codes == [0] * 4

    async def rows() -> dict[str, int]:
        connection = await asyncpg.connect(env["EBBTIDE_DATABASE_URL"])
        tables = await connection.fetch(
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'account_id' AND table_schema = 'public'"
        )
        found = {
            name: await connection.fetchval(
                f'SELECT count(*) FROM "{name}" WHERE starts_with(account_id, $1)', CANARY_PREFIX
            )
            for (name,) in tables
        }
        found["source_feeds"] = await connection.fetchval("SELECT count(*) FROM source_feeds")
        await connection.close()
        return found

    found = asyncio.run(rows())
    assert {"accounts", "episodes", "feed", "queue_entries", "timeline", "account_spans"} <= found.keys()
    assert set(found.values()) == {0}

    async def said() -> list[str]:
        consumer = AIOKafkaConsumer(
            "signals.risk", bootstrap_servers=clean_topics.bootstrap, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            batches = await consumer.getmany(timeout_ms=3000)
        finally:
            await consumer.stop()
        values = [json.loads(record.value) for records in batches.values() for record in records]
        return [f"{value['data']['signal']} {value['type']}" for value in values]

    assert set(asyncio.run(said())) == {"pilot.unready signal.raised", "pilot.unready signal.cleared"}
