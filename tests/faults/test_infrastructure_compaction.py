"""The cleaner at work on state and health: what it drops was said again later, so no recovery may miss it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from deploy.local.kafka import LocalKafka
from tests.faults import log
from tests.faults.brokers import CLEANER_AT_WORK, HEAP
from tests.faults.load import Historical
from tests.faults.run import FaultRun
from tests.harness import free_ports

pytestmark = pytest.mark.long

LAG_S = 12.0
"""A refused record is repaired within the session timeout and one recovery: the good one must outlive that."""


@pytest.fixture
def cleaning(session_folder: Path) -> Iterator[LocalKafka]:
    """A broker that looks for something to clean all the time."""
    port, control = free_ports(2)
    broker = LocalKafka(
        session_folder / f"cleaning-{uuid.uuid4().hex[:6]}", port, control, heap=HEAP, settings=CLEANER_AT_WORK
    )
    try:
        broker.start()
        broker.wait_ready()
        yield broker
    finally:
        broker.kill()


def compact_soon(bootstrap: str, topic: str, lag_s: float) -> None:
    """Small segments that are cleaned as soon as they are `lag_s` old."""
    wanted = {
        "segment.ms": "1500",
        "min.cleanable.dirty.ratio": "0.01",
        "min.compaction.lag.ms": str(round(lag_s * 1000)),
        "max.compaction.lag.ms": str(round(lag_s * 1000) + 1000),
    }
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in wanted.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(20)


def test_workers_killed_while_state_and_health_are_compacted(cleaning: LocalKafka, tmp_path: Path) -> None:
    """Recoveries read logs with gaps, from the beginning and from the place where a copy stands.

    If an offset that compaction took were mistaken for a hole, or for somebody else's write, the engine would never
    start again; if the position in the state counted on records that compaction may drop, it would start wrong.
    """
    with FaultRun(cleaning.bootstrap, tmp_path / "run", name="compaction running") as run:
        changelog = log.changelog_of(run.app_id)
        compact_soon(cleaning.bootstrap, changelog, LAG_S)
        compact_soon(cleaning.bootstrap, log.HEALTH, 0)
        run.start_worker("a", ready=False)
        # One with a copy on disk, one that reads everything at each start.
        run.start_worker("b", EBBTIDE_ENGINE_STORE="memory")
        run.ready("a")
        load = run.load(Historical(4_000, seed=2), rate=16)
        run.progress()
        for name in ("a", "b", "a", "b"):
            time.sleep(LAG_S)
            run.kill(name)
            run.ready(name)
            run.progress(10)
        # Its last state is written after another has gone on, and is repaired while the cleaner works on it.
        run.freeze("a")
        run.progress(10)
        run.thaw("a")
        time.sleep(2)
        run.progress(10)
        assert run.loading, "the load was over before the last fault"
        load.hurry()
        run.settle()
        left = log.read(cleaning.bootstrap, [changelog])
        written = sum({record.partition: record.offset + 1 for record in left}.values())
        assert len(left) < written * 0.8, f"{len(left)} of {written} state records are left: nothing was tried"
        run.check()
