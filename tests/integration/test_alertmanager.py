"""The push to a real Alertmanager: one alert an episode, told once, silent while snoozed, ended when it ends."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.common import db, metrics
from services.common.settings import Settings
from services.delivery.alertmanager import Alertmanager
from services.delivery.duty import Duty
from services.signals.recorder.main import write_signals
from services.signals.recorder.records import signal_row
from tests import recorded
from tests.harness import free_ports, http_status, wait_for
from tests.recorded import Stored

NOW = dt.datetime.now(dt.UTC)
OPENED = NOW - dt.timedelta(days=3)
WITHIN_S = 15.0
EVERY_S = 0.5
ROUNDS_S = 2.5

transition = partial(recorded.transition, appended=NOW, opened=OPENED, pages=True)

# Repeats come once a day: what is sent again within it tells nobody twice.
CONFIG = """
route:
  receiver: people
  group_by: ['...']
  group_wait: 100ms
  group_interval: 300ms
  repeat_interval: 24h
receivers:
- name: people
  webhook_configs:
  - url: http://127.0.0.1:{port}/
    send_resolved: true
"""


class People:
    """Hears Alertmanager's notifications: (status, episode, severity) of each."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        people = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                for alert in body["alerts"]:
                    labels = alert["labels"]
                    people.told.append((alert["status"], labels["episode"], labels["severity"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])


@pytest.fixture
def people() -> Iterator[People]:
    found = People()
    found.thread.start()
    yield found
    found.server.shutdown()
    found.thread.join()
    found.server.server_close()


class RealAlertmanager:
    """Debian's Alertmanager on a free port, that can be ended and started again."""

    def __init__(self, folder: Path, receiver: int) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        (folder / "alertmanager.yml").write_text(CONFIG.format(port=receiver))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus-alertmanager",
                    f"--config.file={self._folder / 'alertmanager.yml'}",
                    f"--storage.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for("Alertmanager ready", lambda: http_status(f"{self.url}/-/ready") == 200)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def active(self) -> dict[tuple[str, str], Any]:
        """The alerts that are shown, by episode and severity."""
        answer = httpx.get(f"{self.url}/api/v2/alerts", timeout=5)
        answer.raise_for_status()
        return {(a["labels"]["episode"], a["labels"]["severity"]): a for a in answer.json()}


@pytest.fixture
def real(people: People, tmp_path: Path) -> Iterator[RealAlertmanager]:
    found = RealAlertmanager(tmp_path, people.port)
    found.start()
    yield found
    found.stop()


@pytest.fixture
async def connection(migrated_database: str) -> AsyncIterator[Any]:
    connection = await db.connect(migrated_database, process="test")
    yield connection
    await connection.close()


@pytest.fixture
async def pushing(migrated_database: str, real: RealAlertmanager) -> AsyncIterator[None]:
    config = Settings(database_url=migrated_database, console_url="https://ebbtide.example")
    duty = Duty("alertmanager", config, Alertmanager(config, [real.url], every_s=EVERY_S, look_s=0.1).work)
    stop = asyncio.Event()
    task = asyncio.create_task(duty.run(stop))
    yield
    stop.set()
    await task


async def record(connection: Any, *records: Stored) -> None:
    async with connection.transaction():
        await write_signals(connection, [signal_row(record) for record in records])


async def until(what: str, probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not await asyncio.to_thread(probe):
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


SNOOZE = """
INSERT INTO handlings (episode_id, account_id, version, snoozed_at, snoozed_by, snoozed_until, snoozed_ordinal, updated_at)
VALUES ('e1', 'acme', 1, now(), 'Ana', now() + $1::interval, 1, now())
ON CONFLICT (episode_id) DO UPDATE SET snoozed_until = excluded.snoozed_until
"""


@pytest.mark.usefixtures("pushing")
async def test_an_episode_from_its_raise_to_its_end(connection: Any, real: RealAlertmanager, people: People) -> None:
    await record(
        connection,
        transition("acme", "e1", 1, "raised", severity="critical", signal="critical.compound"),
        # Nobody is told of these: does not page, of the past, of one user.
        transition("acme", "quiet", 1, "raised", pages=False),
        transition("acme", "past", 1, "raised", historical=True),
        transition("acme", "user", 1, "raised", user="u@acme.io"),
    )
    first = ("e1", "critical")
    await until("raised", lambda: ("firing", *first) in people.told)
    shown = real.active()
    assert shown.keys() == {first}
    assert shown[first]["labels"] == {
        "alertname": "EbbtideSignal",
        "signal": "critical.compound",
        "severity": "critical",
        "kind": "risk",
        "tier": "high",
        "owner": "csm",
        "episode": "e1",
    }
    assert shown[first]["annotations"]["account"] == "acme"
    assert shown[first]["generatorURL"] == "https://ebbtide.example/signals/e1"
    assert dt.datetime.fromisoformat(shown[first]["startsAt"]).timestamp() == pytest.approx(
        OPENED.timestamp(), abs=0.01
    )
    listed = await asyncio.to_thread(
        subprocess.run,
        ["amtool", f"--alertmanager.url={real.url}", "alert", "query", "alertname=EbbtideSignal", "--output=json"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert [alert["labels"]["episode"] for alert in json.loads(listed.stdout)] == ["e1"]

    # Sent again and again, it is one alert of which people hear once.
    await asyncio.sleep(ROUNDS_S)
    assert real.active().keys() == {first}
    assert people.told == [("firing", *first)]

    # Snoozed, it is silent; when the snooze is over, it is the same alert.
    await connection.execute(SNOOZE, dt.timedelta(hours=1))
    await until("silent", lambda: not real.active())
    await until("told so", lambda: people.told[1:] == [("resolved", *first)])
    await connection.execute(SNOOZE, dt.timedelta(hours=-1))
    await until("firing again", lambda: people.told[2:] == [("firing", *first)])
    assert real.active()[first]["fingerprint"] == shown[first]["fingerprint"]

    await record(
        connection,
        transition("acme", "e1", 2, "cleared", severity="critical", signal="critical.compound"),
    )
    await until("cleared", lambda: not real.active())
    await until("told that it is over", lambda: people.told[3:] == [("resolved", *first)])


@pytest.mark.usefixtures("pushing")
async def test_an_escalation_tells_again_and_nothing_is_lost_while_alertmanager_is_away(
    connection: Any, real: RealAlertmanager, people: People
) -> None:
    await record(connection, transition("acme", "e1", 1, "raised", severity="warning"))
    await until("raised", lambda: people.told == [("firing", "e1", "warning")])
    await record(connection, transition("acme", "e1", 2, "escalated", severity="critical"))
    await until("escalated", lambda: ("firing", "e1", "critical") in people.told)
    await until("only the worse one is shown", lambda: real.active().keys() == {("e1", "critical")})
    await until("the milder one is over", lambda: ("resolved", "e1", "warning") in people.told)
    assert len(people.told) == 3

    real.stop()
    failed = metrics.ALERTMANAGER_PUSHES.labels("failed")._value.get()
    await record(connection, transition("birk", "e2", 1, "raised", severity="critical"))
    await record(connection, transition("acme", "e1", 3, "cleared", severity="critical"))
    await until("it was tried", lambda: metrics.ALERTMANAGER_PUSHES.labels("failed")._value.get() > failed + 1)
    await asyncio.to_thread(real.start)
    await until("told after all", lambda: ("firing", "e2", "critical") in people.told)
    assert real.active().keys() == {("e2", "critical")}
    assert metrics.ALERTMANAGER_LAST_SUCCESS._value.get() == pytest.approx(time.time(), abs=30)
