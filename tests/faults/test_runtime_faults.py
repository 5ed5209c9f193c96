"""The long form: many kills, and workers that are paused longer than their session and wake up in the middle of an effect."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from services.signals.runtime.failpoints import PLACES, VARIABLE
from tests.faults import bench
from tests.harness import wait_for
from tests.integration.test_runtime import assert_exact, crash_at, group, settle

__all__ = ["group"]  # the fixture

pytestmark = pytest.mark.long


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
def test_three_workers_killed_ended_and_started_at_random_under_load(group: bench.Group, store: str) -> None:
    """Eight kills or ends in 60 s, of one worker at a time; the others go on."""
    group.extra["EBBTIDE_ENGINE_STORE"] = store
    chance = random.Random(11)
    names = ["a", "b", "c"]
    for name in names:
        group.start(name, ready=False)
    group.ready("a")
    load = bench.Load(group.bootstrap, rate=600)
    try:
        for _ in range(8):
            time.sleep(chance.uniform(3, 8))
            name = chance.choice(names)
            if chance.random() < 0.6:
                group.kill(name)
            else:
                group.ready(name)  # while it still loads its code, SIGTERM just ends it
                group.terminate(name)
            time.sleep(chance.uniform(0, 2))
            group.start(name, ready=False)
    finally:
        sent = load.finish()
    for name in names:
        group.ready(name)
    settle(group, sent, within=90)
    assert_exact(group)


def test_a_crash_at_every_place_repeats_and_changes_nothing(group: bench.Group) -> None:
    crash_at(group, PLACES)


@pytest.mark.parametrize("place", ["before-dead-letters", "state-sent"])
def test_a_worker_that_wakes_up_after_it_lost_its_partitions_harms_nothing(group: bench.Group, place: str) -> None:
    """It is stopped inside an effect for longer than its session; another has gone on; then it writes."""
    group.start("paused", **{VARIABLE: f"{place}:25:stop"})
    load = bench.Load(group.bootstrap, rate=400)
    try:
        status = Path(f"/proc/{group.processes['paused'].pid}/stat")
        wait_for("the worker stops itself", lambda: status.read_text().rpartition(")")[2].split()[0] == "T", within=60)
        group.start("other")
        time.sleep(4)
        group.processes["paused"].send_signal(signal.SIGCONT)
        time.sleep(6)
    finally:
        sent = load.finish()
    # Whoever noticed a foreign write has ended, as it should; it is started again, as it would be.
    for name in ("paused", "other"):
        if group.processes[name].poll() is not None:
            group.start(name, ready=False)
    for name in ("paused", "other"):
        group.ready(name)
    settle(group, sent, within=90)
    # What the paused worker published may be an orphan; the states are exact all the same.
    truth = bench.inputs(group.bootstrap)
    assert {
        name: (account.count, account.total) for name, account in bench.states(group.bootstrap, group.app_id).items()
    } == truth, group.logs()
    # And they are what a worker reads that has nothing but the changelog.
    for name in ("paused", "other"):
        group.kill(name)
    group.start("fresh", EBBTIDE_ENGINE_STORE="memory")
    bench.send(
        group.bootstrap,
        [bench.Message("usage", name, bench.event("usage", name, f"last-{name}", time.time())) for name in truth],
    )
    settle(group, sent + len(truth), within=60)
    assert {
        name: (account.count, account.total) for name, account in bench.states(group.bootstrap, group.app_id).items()
    } == bench.inputs(group.bootstrap)
