"""The broker dies and comes back, and the network between engine and broker stalls and resets: nobody counts wrong.

Every worker has a proxy of its own and knows no other way to the broker. The short form runs the engine double, the long
one the engine itself and the independent checker.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from tests.conftest import clean_environment
from tests.faults import bench, brokers
from tests.faults.load import Historical
from tests.faults.proxy import Proxy
from tests.faults.run import FaultRun
from tests.harness import ebbtide, http_status
from tests.integration.test_runtime import assert_exact, settle

NAMES = ("a", "b")
LINES = 60
"""Most lines that a worker may log over one outage: a client library alone has thousands to say."""

ATTEMPTS = 6
"""Most connections that a worker may try to make in a second of a broker's absence: it has four clients, at most."""

BACK_WITHIN_S = 12.0
"""How soon what was sent is applied once the broker is back: the longest pause, the group's coordinator, a commit."""


@dataclass
class Line:
    """A broker, and the proxy before each worker."""

    broker: LocalKafka
    proxies: dict[str, Proxy]

    def address(self, name: str) -> str:
        """Where a worker finds the broker."""
        return f"127.0.0.1:{self.proxies[name].port}"


@pytest.fixture(scope="module")
def wiring(session_folder: Path) -> Iterator[Line]:
    """A broker of this module's own, behind a proxy for each worker."""
    with brokers.behind_proxies(session_folder / "far", len(NAMES)) as (broker, proxies):
        yield Line(broker, dict(zip(NAMES, proxies, strict=True)))


@pytest.fixture
def line(wiring: Line) -> Iterator[Line]:
    """The broker without topics; the proxies are left as they were found."""
    wiring.broker.delete_all_topics()
    yield wiring
    for proxy in wiring.proxies.values():
        proxy.resume()


# -- short ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def workers(line: Line, tmp_path: Path) -> Iterator[bench.Group]:
    """Both workers at work, over the engine double."""
    app_id = f"engine-{uuid.uuid4().hex[:8]}"
    bootstrap = line.broker.bootstrap
    ebbtide(
        "topics",
        "apply",
        env=clean_environment() | {"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": bootstrap, "EBBTIDE_ENGINE_APP_ID": app_id},
    )
    group = bench.Group(bootstrap, tmp_path, app_id)
    try:
        for name in NAMES:
            group.start(name, ready=False, EBBTIDE_KAFKA_BOOTSTRAP_SERVERS=line.address(name))
        for name in NAMES:
            group.ready(name)
        yield group
    finally:
        group.end()


def assert_the_same_workers(group: bench.Group) -> None:
    """None has ended."""
    ended = [name for name, worker in group.processes.items() if worker.poll() is not None]
    assert not ended, group.logs()


def test_a_broker_killed_under_load_is_waited_for(line: Line, workers: bench.Group) -> None:
    """Without waiting, every worker would end and start anew at each failover, and recover for minutes under load."""
    load = bench.Load(line.broker.bootstrap, rate=400)
    try:
        time.sleep(1)
        line.broker.kill()
        time.sleep(1)
        before = {name: proxy.counts["refused"] for name, proxy in line.proxies.items()}
        time.sleep(3)
        for name, proxy in line.proxies.items():
            assert proxy.counts["refused"] - before[name] <= 3 * ATTEMPTS
        assert {http_status(f"{workers.urls[name]}/livez") for name in NAMES} == {200}
        line.broker.start()
        line.broker.wait_ready()
        assert workers.progress() < BACK_WITHIN_S
    finally:
        sent = load.finish()
    settle(workers, sent)
    assert_exact(workers)
    assert_the_same_workers(workers)
    for name in NAMES:
        lines = (workers.folder / f"{name}.log").read_text(errors="replace").splitlines()
        assert len(lines) < LINES, "\n".join(lines)


def test_a_network_that_stalls_and_resets_costs_time_only(line: Line, workers: bench.Group) -> None:
    """What was on its way when a connection was reset may or may not have arrived: a state batch that is sent again must
    count once, and a fetch that was cut must be fetched again."""
    load = bench.Load(line.broker.bootstrap, rate=500)
    reset = 0
    try:
        time.sleep(1)
        for proxy in line.proxies.values():
            reset += proxy.reset()
        time.sleep(0.5)
        line.proxies["a"].stall()
        time.sleep(2)
        reset += line.proxies["a"].reset()
        line.proxies["a"].resume()
        workers.progress()
    finally:
        sent = load.finish()
    assert reset >= 2 * len(NAMES), "nothing was reset"
    settle(workers, sent)
    assert_exact(workers)
    assert_the_same_workers(workers)


# -- long -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def far_run(line: Line, tmp_path: Path, request: pytest.FixtureRequest) -> FaultRun:
    """A fault run on this broker. Its workers are to be started with `start`."""
    return FaultRun(line.broker.bootstrap, tmp_path / "run", name=request.node.name)


def start(run: FaultRun, line: Line) -> None:
    """Start both workers, each behind its proxy."""
    for name in NAMES:
        run.start_worker(name, ready=False, EBBTIDE_KAFKA_BOOTSTRAP_SERVERS=line.address(name))
    for name in NAMES:
        run.ready(name)


@pytest.mark.long
def test_a_broker_that_takes_18_seconds_to_come_back_twice(line: Line, far_run: FaultRun) -> None:
    """Beyond the session timeout and beyond the producer's request timeout: neither may end a worker."""
    with far_run as run:
        start(run, line)
        load = run.load(Historical(4_000, seed=2), rate=16)
        for _ in range(2):
            run.progress(10)
            run.fault("broker killed for 18 s")
            line.broker.kill()
            time.sleep(18)
            assert {http_status(f"{run.workers[name].url}/livez") for name in NAMES} == {200}
            line.broker.start()
            line.broker.wait_ready()
            run.progress(10)
        assert run.loading, "the load was over before the last fault"
        load.hurry()
        run.settle()
        run.check()
        assert not run.report.ended, "a worker ended because the broker was away"
        for name in NAMES:
            assert len(run.tail(name, 1000).splitlines()) < 2 * LINES, run.tail(name, 1000)


@pytest.mark.long
def test_a_network_that_is_bad_for_minutes(line: Line, far_run: FaultRun) -> None:
    """Resets, a slow line and stalls up to just under the session timeout, on either worker at random; then progress."""
    chance = random.Random(5)
    with far_run as run:
        start(run, line)
        load = run.load(Historical(4_000, seed=2), rate=16)
        for _ in range(10):
            time.sleep(chance.uniform(0.5, 1.5))
            for proxy in line.proxies.values():
                proxy.reset()
                run.fault("all connections reset")
            proxy = line.proxies[chance.choice(NAMES)]
            proxy.slow(0.02)
            run.fault("slow line")
            time.sleep(1)
            proxy.stall()
            run.fault("stall")
            time.sleep(chance.choice([0.5, 1.5, 3.0, 4.5]))
            if chance.random() < 0.7:
                proxy.reset()
                run.fault("reset after a stall")
            proxy.resume()
            run.progress(10)
        assert run.loading, "the load was over before the last fault"
        load.hurry()
        run.settle()
        run.check()
        assert not run.report.ended, "a worker ended because of the network"


@pytest.mark.long
def test_a_worker_cut_off_beyond_its_session_harms_nothing(line: Line, far_run: FaultRun) -> None:
    """Its last effects lie in the network while another takes its partitions over, and arrive after that one's.

    Without epochs the late state would be what recovery reads last; without the check for foreign writes the worker
    that took over would go on over a log that no longer says what it knows.
    """
    with far_run as run:
        start(run, line)
        load = run.load(Historical(4_000, seed=2), rate=16)
        for name in ("a", "b", "a", "b"):
            run.progress(10)
            line.proxies[name].stall()
            run.fault("cut off for two sessions")
            time.sleep(12)
            run.progress(10)
            line.proxies[name].resume()
            time.sleep(3)
            run.progress(10)
        assert run.loading, "the load was over before the last fault"
        load.hurry()
        run.settle()
        run.check()
        assert run.report.ended.keys() <= {"another worker has this partition"}, run.report.ended
