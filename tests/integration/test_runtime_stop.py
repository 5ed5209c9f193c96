"""SIGTERM in every state of the engine's life: exit code 0, in under three seconds."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from tests.conftest import clean_environment
from tests.faults import bench
from tests.harness import ROOT, free_ports, wait_for
from tests.integration.test_runtime import group

__all__ = ["group"]  # the fixture

WITHIN_S = 3.0


def stop(process: subprocess.Popen[bytes], log: Path) -> float:
    """SIGTERM; how long it took. AssertionError when it did not exit with 0."""
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, log.read_text()
    return time.monotonic() - started


def test_while_a_process_still_loads_its_code(tmp_path: Path) -> None:
    (tmp_path / "slow_to_load.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(30)\n")
    script = (
        "import sys; from services.cli import serve; serve.PROCESSES['engine'] = 'slow_to_load:run'; "
        f"sys.path.insert(0, {str(tmp_path)!r}); serve.serve(['engine'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loading\n"
        assert stop(process, tmp_path / "slow_to_load.py") < WITHIN_S


def test_while_something_does_not_let_itself_be_cancelled(tmp_path: Path) -> None:
    script = (
        "import asyncio\n"
        "from services.signals.runtime import main\n"
        "async def deaf(self, stop):\n"
        "    print('deaf', flush=True)\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.sleep(60)\n"
        "        except asyncio.CancelledError:\n"
        "            pass\n"
        "main.Process.run = deaf\n"
        "main.run(lambda config: None)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"deaf\n"
        try:
            assert stop(process, tmp_path) < WITHIN_S
        finally:
            process.kill()


def test_while_no_broker_answers(tmp_path: Path) -> None:
    broker, port = free_ports(2)
    env = clean_environment() | {
        "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{broker}",
        "EBBTIDE_DATA_DIR": str(tmp_path),
        "EBBTIDE_METRICS_PORT_ENGINE": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    log = tmp_path / "engine.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.double"], cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_for("it waits", lambda: "waiting for Kafka" in log.read_text(), within=60)
        assert stop(process, log) < WITHIN_S
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("after_s", [0.0, 0.7, 1.6])
def test_while_partitions_are_assigned_and_recovered(group: bench.Group, after_s: float) -> None:
    group.start("a", ready=False)
    log = group.folder / "a.log"
    url = f"{group.urls['a']}/readyz"
    wait_for("it listens", lambda: bench.http_status(url) == 503, within=60)
    time.sleep(after_s)
    assert stop(group.processes["a"], log) < WITHIN_S


def test_while_a_backlog_is_applied(group: bench.Group) -> None:
    now = time.time()
    bench.send(
        group.bootstrap,
        (
            bench.Message("usage", f"a-{n % 50}", bench.event("usage", f"a-{n % 50}", f"{n}", now))
            for n in range(20_000)
        ),
    )
    group.start("a")
    assert stop(group.processes["a"], group.folder / "a.log") < WITHIN_S


def test_while_the_broker_hangs(group: bench.Group, kafka: LocalKafka) -> None:
    group.start("a")
    load = bench.Load(group.bootstrap, rate=200)
    time.sleep(1)
    process = kafka.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(1)
        assert stop(group.processes["a"], group.folder / "a.log") < WITHIN_S
    finally:
        process.send_signal(signal.SIGCONT)
        kafka.wait_ready()  # it registers anew: until then it names no brokers, and the next test's topics are its own
        load.finish()
