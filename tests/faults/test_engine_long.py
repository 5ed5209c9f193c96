"""Faults of the engine itself, the long form: `make faults`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from services.signals.runtime.failpoints import PLACES, VARIABLE
from tests.faults.engine import EXTRA_PLACES
from tests.faults.guards import GUARDS
from tests.faults.load import Historical, Live
from tests.faults.run import FaultRun, moments

pytestmark = pytest.mark.long

Runs = Callable[..., FaultRun]
LIVE = {"EBBTIDE_TICKS": "on", "EBBTIDE_TICK_INTERVAL_S": "1"}
RUNTIMES = ("chunked", "guarded")

ONCE = ("recovering", "opening", "opened", "revoked")
"""Places that are reached once or a few times after each start."""
WORKERS = ("a", "b", "c")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_three_workers_die_leave_join_and_are_paused_at_random(fault_run: Runs, runtime: str) -> None:
    """Thirty faults of one seeded schedule while a historical file is replayed, each followed by progress everywhere."""
    with fault_run(runtime=runtime) as run:
        for name in WORKERS:
            run.start_worker(name, ready=False)
        run.ready("a")
        load = run.load(Historical(20_000, seed=3, days=200), rate=30)
        for chance, pause in moments(5, 30, 0.5, 4.0):
            time.sleep(pause)
            name = chance.choice(WORKERS)
            dice = chance.random()
            if dice < 0.6:
                run.kill(name)
            elif dice < 0.85:
                run.terminate(name)
                time.sleep(chance.uniform(0, 3))
                run.start_worker(name, ready=False)
            else:
                run.freeze(name)
                time.sleep(chance.uniform(8, 11))
                run.thaw(name)
            run.progress()
            assert not load.done, "the load ended before the faults did"
        load.hurry()
        run.settle()
        run.check()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_worker_dies_at_every_effect(fault_run: Runs, runtime: str) -> None:
    """At every numbered place, and at fetching, recovering, opening, revoking and committing; another goes on."""
    with fault_run(runtime=runtime) as run:
        load = run.load(Historical(12_000, seed=4, poison=1, days=150), rate=30)
        places = (*PLACES, *EXTRA_PLACES)
        run.start_failing("a", [f"{place}:{1 if place in ONCE else 3}:kill" for place in places])
        run.start_worker("b", ready=False)
        run.died_at_all("a")
        load.hurry()
        run.settle()
        run.check()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_worker_is_paused_inside_every_effect_and_wakes_up_after_it_lost_its_partitions(
    fault_run: Runs, runtime: str
) -> None:
    with fault_run(runtime=runtime) as run:
        load = run.load(Historical(16_000, seed=6, days=150), rate=30)
        run.start_worker("b")
        for place in (*PLACES, "fetched", "opened", "before-commit"):
            zombie(run, place)
        load.hurry()
        run.settle()
        run.check()


def zombie(run: FaultRun, place: str) -> None:
    """Worker `a` is stopped at a place for longer than its session while `b` goes on; then it wakes up."""
    run.start_worker("a", ready=False, once={VARIABLE: f"{place}:{1 if place in ONCE else 3}:stop"})
    run.wait_stopped("a", place)
    time.sleep(8)
    run.progress()
    run.thaw("a")
    time.sleep(3)
    run.progress()
    run.kill("a", again=False)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_live_load_ticks_clock_jumps_kills_and_pauses(fault_run: Runs, runtime: str) -> None:
    """Three workers tick by their own clocks, which jump to and fro by a day and by minutes."""
    with fault_run(runtime=runtime, settings=LIVE) as run:
        run.start_worker("a", CLOCK_OF_TEST="10:86400,25:-86400,40:3600,55:-3600")
        run.start_worker("b", ready=False, CLOCK_OF_TEST="15:-86400,30:86400")
        run.start_worker("c", ready=False)
        load = run.load(Live(200, seconds=150, seed=8))
        for chance, pause in moments(9, 8, 1.0, 5.0):
            time.sleep(pause)
            name = chance.choice(WORKERS)
            if chance.random() < 0.7:
                run.kill(name)
            else:
                run.freeze(name)
                time.sleep(chance.uniform(8, 10))
                run.thaw(name)
            run.progress()
            assert not load.done, "the load ended before the faults did"
        run.settle()
        run.check()


@pytest.mark.parametrize(("runtime", "store"), [("chunked", "memory"), ("guarded", "memory")])
def test_the_other_pairs_of_runtime_and_store(fault_run: Runs, runtime: str, store: str) -> None:
    """Kills, an end, a join and a pause, in mid-replay."""
    with fault_run(runtime=runtime, store=store) as run:
        run.start_failing("a", ["state-acknowledged:5:kill", "signals-acknowledged:3:kill"])
        run.start_worker("b", ready=False)
        load = run.load(Historical(8_000, seed=10, poison=1, days=100), rate=40)
        run.died_at_all("a")
        run.terminate("b")
        run.progress()
        run.start_worker("b")
        run.freeze("a")
        time.sleep(9)
        run.thaw("a")
        run.progress()
        load.hurry()
        run.settle()
        run.check()


# -- guards taken out ------------------------------------------------------------------------------------------------


def plain(run: FaultRun) -> None:
    """Producer's retries, and no other fault."""
    run.start_worker("a")
    run.load(Historical(1_500, seed=12), rate=500)


def dies_at(*failpoints: str) -> Callable[[FaultRun], None]:
    """One worker dies at these places."""

    def scenario(run: FaultRun) -> None:
        load = run.load(Historical(4_000, seed=13), rate=120)
        run.start_failing("a", failpoints)
        run.died_at_all("a")
        load.hurry()

    return scenario


def loses_a_fetch(run: FaultRun) -> None:
    """What one fetch brought is lost on its way."""
    run.start_worker("a", once={"LOSE_OF_TEST": "15"})
    run.load(Historical(2_500, seed=14), rate=300)


def paused(run: FaultRun) -> None:
    """A worker is paused before it writes, another goes on, and the first writes; then only the first is left."""
    load = run.load(Historical(6_000, seed=15), rate=120)
    run.start_worker("a", once={VARIABLE: "before-dead-letters:25:stop"})
    run.wait_stopped("a", "before-dead-letters")
    run.start_worker("b")
    time.sleep(6)
    run.thaw("a")
    time.sleep(8)
    run.kill("b", again=False)
    run.progress()
    load.hurry()


def rebalances(run: FaultRun) -> None:
    """Workers join and leave under a fast load, again and again."""
    load = run.load(Historical(14_000, seed=16), rate=500)
    run.start_worker("a")
    for _ in range(4):
        run.start_worker("b")
        time.sleep(1)
        run.terminate("b")
        time.sleep(1)
    load.hurry()


SCENARIOS: dict[str, Callable[[FaultRun], None]] = {
    "dedupe by id": plain,
    "dedupe by offset": dies_at("before-commit:4:kill", "before-commit:3:kill"),
    "outbox resent when a partition is opened": dies_at("state-acknowledged:4:kill", "state-acknowledged:3:kill"),
    "outbox resent on first touch": dies_at("state-acknowledged:4:kill", "state-acknowledged:3:kill"),
    "position after state": dies_at("after-commit:5:kill", "after-commit:5:kill"),
    "dead letters before state": dies_at(*(f"state-stored:{n}:kill" for n in (8, 5, 7, 4, 6, 3))),
    "hole detector": loses_a_fetch,
    "rebalance guard": rebalances,
    "rebalance guard and hole detector": rebalances,
    "epoch fence": paused,
    "foreign-write check": paused,
}
REDUNDANT = {
    "rebalance guard": "the hole detector winds back to what was lost",
    "outbox resent when a partition is opened": "it is resent on the account's first touch, if later",
    "position after state": "the state says where to begin, not the committed position",
}
"""Guards behind which another one stands, so that taking them out alone is not noticed, and which that is."""


def test_every_guard_has_a_scenario() -> None:
    assert SCENARIOS.keys() == GUARDS.keys()


@pytest.mark.parametrize("guard", GUARDS)
def test_without_a_guard_the_checker_finds_something(fault_run: Runs, guard: str) -> None:
    with fault_run(name=f"without {guard}", settings={"WITHOUT_OF_TEST": guard}) as run:
        run.report.expects_failure = guard not in REDUNDANT
        if guard in REDUNDANT:
            SCENARIOS[guard](run)
            run.settle()
            run.check()
            return
        with suppress(AssertionError):  # it may also stand still
            SCENARIOS[guard](run)
            run.settle(within=120)
        assert run.judge().problems, str(run.report)


@pytest.mark.parametrize("scenario", [plain, loses_a_fetch, paused, rebalances], ids=lambda scenario: scenario.__name__)
def test_the_scenarios_are_exact_with_all_guards(fault_run: Runs, scenario: Callable[[FaultRun], None]) -> None:
    with fault_run() as run:
        scenario(run)
        run.settle()
        run.check()
