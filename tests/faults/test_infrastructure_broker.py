"""The broker dies and comes back, and the network between engine and broker stalls and resets: nobody counts wrong."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from tests.conftest import clean_environment
from tests.faults import bench, brokers
from tests.faults.proxy import Proxy
from tests.harness import ebbtide, http_status
from tests.integration.test_runtime import assert_exact, settle

NAMES = ("a", "b")


@dataclass
class Far:
    """A broker, workers `a` and `b`, and before each worker the proxy that is its only way to the broker."""

    broker: LocalKafka
    proxies: dict[str, Proxy]
    workers: bench.Group

    def start(self, name: str) -> None:
        """Start a worker, or start it again."""
        address = f"127.0.0.1:{self.proxies[name].port}"
        self.workers.start(name, ready=False, EBBTIDE_KAFKA_BOOTSTRAP_SERVERS=address)

    def all_live(self) -> None:
        """AssertionError when a worker has ended."""
        ended = {name: worker.poll() for name, worker in self.workers.processes.items() if worker.poll() is not None}
        assert not ended, f"{ended}\n{self.workers.logs()}"

    def progress(self, within: float = 60.0) -> None:
        """Return once both workers are ready and what was there at the call is committed."""
        for name in NAMES:
            self.workers.ready(name, within)
        self.workers.progress(within)


@pytest.fixture(scope="module")
def line(session_folder: Path) -> Iterator[tuple[LocalKafka, dict[str, Proxy]]]:
    """A broker of this module's own, behind a proxy for each worker."""
    with brokers.behind_proxies(session_folder / "far", len(NAMES)) as (broker, proxies):
        yield broker, dict(zip(NAMES, proxies, strict=True))


@pytest.fixture
def far(line: tuple[LocalKafka, dict[str, Proxy]], tmp_path: Path) -> Iterator[Far]:
    """Topics made anew, and both workers at work."""
    broker, proxies = line
    app_id = f"engine-{uuid.uuid4().hex[:8]}"
    env = clean_environment() | {"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "EBBTIDE_ENGINE_APP_ID": app_id}
    broker.delete_all_topics()
    ebbtide("topics", "apply", env=env)
    made = Far(broker, proxies, bench.Group(broker.bootstrap, tmp_path, app_id))
    try:
        for name in NAMES:
            made.start(name)
        for name in NAMES:
            made.workers.ready(name)
        yield made
    finally:
        for proxy in proxies.values():
            proxy.resume()
        made.workers.end()


def outage(far: Far, seconds: float, load: float = 400) -> None:
    """Kill the broker under load, start it `seconds` later; afterwards everything must be exact, by the same workers."""
    sending = bench.Load(far.broker.bootstrap, rate=load)
    try:
        time.sleep(2)
        far.broker.kill()
        time.sleep(1)
        assert http_status(f"{far.workers.urls['a']}/livez") == 200
        time.sleep(seconds - 1)
        far.all_live()
        far.broker.start()
        far.broker.wait_ready()
        far.progress()
    finally:
        sent = sending.finish()
    settle(far.workers, sent, within=90)
    far.all_live()
    assert_exact(far.workers)
    for name in NAMES:
        lines = (far.workers.folder / f"{name}.log").read_text(errors="replace").splitlines()
        assert len(lines) < 60, "\n".join(lines)


def test_a_broker_killed_under_load_is_waited_for(far: Far) -> None:
    """Without waiting, every worker would end and restart at each failover, and recover for minutes under load."""
    outage(far, 4.0)


@pytest.mark.long
def test_a_broker_that_takes_18_seconds_to_come_back(far: Far) -> None:
    """Beyond the session timeout and beyond the producer's request timeout: neither may end a worker."""
    outage(far, 18.0)


def test_a_network_that_stalls_and_resets_costs_time_only(far: Far) -> None:
    """What was on its way when a connection was reset may or may not have arrived: a state batch that is sent again must
    count once, and a fetch that was cut must be fetched again."""
    disturb(far, stalls=(2.0,), rounds=1)
    far.all_live()


@pytest.mark.long
def test_a_network_that_is_bad_for_minutes(far: Far) -> None:
    """Stalls up to just under the session timeout, resets, and a slow line in between, on both workers at random."""
    disturb(far, stalls=(0.5, 1.5, 3.0, 4.5), rounds=12)
    far.all_live()


def disturb(far: Far, *, stalls: Sequence[float], rounds: int) -> None:
    """Each round: a reset under full load, a slow line, a stall that ends in a reset, and then progress."""
    chance = random.Random(5)
    sending = bench.Load(far.broker.bootstrap, rate=500)
    reset = 0
    try:
        for _ in range(rounds):
            time.sleep(chance.uniform(0.5, 1.5))
            for proxy in far.proxies.values():
                reset += proxy.reset()
            proxy = far.proxies[chance.choice(NAMES)]
            proxy.slow(0.02)
            time.sleep(1)
            proxy.stall()
            time.sleep(chance.choice(stalls))
            if chance.random() < 0.7 or rounds == 1:
                reset += proxy.reset()
            proxy.resume()
            far.progress()
    finally:
        sent = sending.finish()
    assert reset >= 2 * rounds, "nothing was reset"
    settle(far.workers, sent, within=90)
    assert_exact(far.workers)


@pytest.mark.long
def test_a_worker_cut_off_beyond_its_session_harms_nothing(far: Far) -> None:
    """Its last effects lie in the network while another takes its partitions over, and arrive after that one's.

    Without epochs the late state would be what recovery reads last; without the check for foreign writes the worker
    that took over would go on over a log that no longer says what it knows.
    """
    sending = bench.Load(far.broker.bootstrap, rate=500)
    try:
        for name in ("a", "b", "a"):
            far.progress()
            far.proxies[name].stall()
            time.sleep(12)  # session timeout 6 s: the other has taken over and written
            far.proxies[name].resume()
            time.sleep(4)
            for each in NAMES:
                if far.workers.processes[each].poll() is not None:
                    assert far.workers.processes[each].returncode == 1, far.workers.logs()
                    far.start(each)
            far.progress()
    finally:
        sent = sending.finish()
    settle(far.workers, sent, within=90)
    truth = bench.inputs(far.broker.bootstrap)
    states = bench.states(far.broker.bootstrap, far.workers.app_id)
    assert {name: (account.count, account.total) for name, account in states.items()} == truth, far.workers.logs()
