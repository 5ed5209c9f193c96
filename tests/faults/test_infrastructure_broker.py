"""The broker dies and comes back, and the network between engine and broker stalls and resets: nobody counts wrong."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from tests.conftest import clean_environment
from tests.faults import bench, brokers
from tests.faults.proxy import Proxy
from tests.harness import ebbtide, http_status
from tests.integration.test_runtime import assert_exact, settle


@dataclass
class Far:
    """A broker, the proxy before it, and workers that know only the proxy."""

    broker: LocalKafka
    proxy: Proxy
    workers: bench.Group

    def come_back(self, names: list[str], within: float = 60.0) -> None:
        """Wait until every worker is ready. AssertionError with the logs when one has ended."""
        for name in names:
            self.workers.ready(name, within)

    def all_live(self) -> None:
        """AssertionError when a worker has ended."""
        ended = {name: worker.poll() for name, worker in self.workers.processes.items() if worker.poll() is not None}
        assert not ended, f"{ended}\n{self.workers.logs()}"


@pytest.fixture(scope="module")
def line(session_folder: Path) -> Iterator[tuple[LocalKafka, Proxy]]:
    """A broker of this module's own, behind a proxy."""
    with brokers.behind_a_proxy(session_folder / "far") as made:
        yield made


@pytest.fixture
def far(line: tuple[LocalKafka, Proxy], tmp_path: Path) -> Iterator[Far]:
    """Topics made anew, two workers behind the proxy."""
    broker, proxy = line
    app_id = f"engine-{uuid.uuid4().hex[:8]}"
    env = clean_environment() | {"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "EBBTIDE_ENGINE_APP_ID": app_id}
    broker.delete_all_topics()
    ebbtide("topics", "apply", env=env)
    workers = bench.Group(
        broker.bootstrap, tmp_path, app_id, extra={"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{proxy.port}"}
    )
    workers.start("a", ready=False)
    workers.start("b", ready=False)
    workers.ready("a")
    workers.ready("b")
    yield Far(broker, proxy, workers)
    proxy.resume()
    workers.end()


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
        far.come_back(["a", "b"])
        time.sleep(2)
    finally:
        sent = sending.finish()
    settle(far.workers, sent, within=90)
    far.all_live()
    assert_exact(far.workers)
    for name in ("a", "b"):
        lines = (far.workers.folder / f"{name}.log").read_text(errors="replace").splitlines()
        assert len(lines) < 60, "\n".join(lines)


def test_a_broker_killed_under_load_is_waited_for(far: Far) -> None:
    """Without waiting, every worker would end and restart at each failover, and recover for minutes under load."""
    outage(far, 4.0)


@pytest.mark.long
def test_a_broker_that_takes_18_seconds_to_come_back(far: Far) -> None:
    """Beyond the session timeout and beyond the producer's request timeout: neither may end a worker."""
    outage(far, 18.0)
