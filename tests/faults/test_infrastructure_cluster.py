"""Three brokers, every topic on all of them, and one of them killed at a time: acknowledged is kept, and work goes on."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from services.common import kafka
from tests.faults.brokers import Cluster
from tests.faults.load import Historical
from tests.faults.run import FaultRun
from tests.harness import wait_for

pytestmark = pytest.mark.long


@pytest.fixture
def cluster(session_folder: Path) -> Iterator[Cluster]:
    """Three brokers."""
    made = Cluster(session_folder / f"cluster-{uuid.uuid4().hex[:6]}")
    try:
        made.start()
        yield made
    finally:
        made.kill()


def test_one_broker_of_three_killed_at_a_time_under_load(cluster: Cluster, tmp_path: Path) -> None:
    """With one replica fewer, or acks=1, what the dead leader alone had would be gone: events, or state, or positions.

    Each broker once; work goes on while it is away, also for a worker that is killed and started meanwhile.
    """
    settings = {"EBBTIDE_TOPIC_REPLICATION": "3"}
    with FaultRun(cluster.bootstrap, tmp_path / "run", name="one broker of three killed", settings=settings) as run:
        run.start_worker("a", ready=False)
        run.start_worker("b")
        run.ready("a")
        load = run.load(Historical(4_000, seed=2), rate=16)
        run.progress()
        for node, broker in cluster.brokers.items():
            time.sleep(2)
            run.fault("broker killed")
            broker.kill()
            # Whoever starts now may ask the dead one first, and must ask another.
            for _ in range(8):
                assert asyncio.run(kafka.partition_counts(cluster.bootstrap, ["usage"])) == {"usage": 4}
            run.progress(10)
            if node == 2:
                run.kill("a")
                run.ready("a")
            run.progress(10)
            broker.start()
            broker.wait_ready()
            wait_for("all replicas in sync again", lambda: in_sync(cluster) == 3, within=90, every=0.5)
            run.progress(10)
        assert run.loading, "the load was over before the last fault"
        load.hurry()
        run.settle()
        run.check()
        assert not run.report.ended, "a worker ended because a broker did"


def in_sync(cluster: Cluster) -> int:
    """The least number of in-sync replicas over all partitions, the broker's own topics too; 0 while nobody answers."""
    try:
        found = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0}).list_topics(timeout=10)
    except KafkaException:
        return 0
    return min(len(each.isrs) for topic in found.topics.values() for each in topic.partitions.values())
