"""Faults of the engine itself under load, in their short form: every run ends in the checker's verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

from tests.faults import checker, log
from tests.faults.load import Historical, Live
from tests.faults.run import FaultRun

Runs = Callable[..., FaultRun]
LIVE = {"EBBTIDE_TICKS": "on", "EBBTIDE_TICK_INTERVAL_S": "1"}


def test_a_worker_dies_between_effects_in_mid_replay_and_the_checker_is_awake(fault_run: Runs) -> None:
    """It dies after state is durable and nothing is said, and when all is said and nothing is committed."""
    with fault_run() as run:
        run.start_failing("a", ["state-acknowledged:5:kill", "before-commit:3:kill"])
        load = run.load(Historical(2500, seed=2), rate=120)
        run.start_worker("b", ready=False)
        run.died_at_all("a")
        load.hurry()
        run.settle()
        run.check()
        assert_awake(log.read_all(run.bootstrap, run.app_id))


def test_the_guarded_runtime_dies_between_effects_in_mid_replay(fault_run: Runs) -> None:
    with fault_run(runtime="guarded") as run:
        run.start_failing("a", ["state-acknowledged:5:kill"])
        load = run.load(Historical(1500, seed=20), rate=80)
        run.died_at_all("a")
        load.hurry()
        run.settle()
        run.check()


def assert_awake(good: log.Log) -> None:
    """Each of the checker's laws is broken once, and it says so."""
    expected = checker.expect(good.inputs)
    assert not checker.compare(expected, good).problems

    def problems(**changed: list[log.Stored]) -> str:
        return "\n".join(checker.compare(expected, replace(good, **changed)).problems)

    first = good.signals[0]
    name = checker.id_of(first)
    repeats = [record for record in good.signals if checker.id_of(record) == name]
    other = json.loads(first.value or b"")
    another = "warning" if other["data"]["severity"] == "info" else "info"
    worse = json.dumps({**other, "data": {**other["data"], "severity": another}}).encode()
    second = json.dumps({**other, "id": name + "9"}).encode()
    rest = [record for record in good.signals if record not in repeats]
    assert f"transition {name} is lost" in problems(signals=rest)
    assert f"severity is '{another}'" in problems(signals=[first._replace(value=worse), *rest])
    assert "published again with other bytes" in problems(signals=[*good.signals, first._replace(value=worse)])
    assert f"transition {name}9 should not be" in problems(signals=[*good.signals, first._replace(value=second)])
    assert "topic is" in problems(signals=[first._replace(topic=log.SIGNALS[1]), *rest])

    assert "no dead letter of" in problems(dead_letters=good.dead_letters[1:])
    letter = good.dead_letters[0]
    assert "its bytes are not" in problems(dead_letters=[letter._replace(value=b""), *good.dead_letters[1:]])
    moved = letter._replace(headers={**letter.headers, "source_offset": b"0", "source_topic": b"tickets"})
    assert "which is a good record" in problems(dead_letters=[*good.dead_letters, moved])

    own = [record for record in good.changelog if record.key == checker.OWN_KEY and record.partition == 0]
    assert "applied up to" in problems(changelog=[r for r in good.changelog if r not in own[1:]])
    assert "has no record of its own" in problems(changelog=[r for r in good.changelog if r.partition])
    # The newest epoch counts: a later record of a lower one changes nothing.
    assert not problems(changelog=[*good.changelog, own[0]._replace(offset=1 << 40)])
    homeless = next(record for record in good.changelog if record.partition == 1 and (record.key or b"")[:1] == b"a")
    assert "has state in partitions" in problems(changelog=[*good.changelog, homeless._replace(partition=2)])

    said = {record.key: record for record in good.health if record.value}
    health = json.loads(next(reversed(said.values())).value or b"")
    key = health["account_id"].encode()
    count = {**health, "windows": {**health["windows"], "usage_90d": health["windows"]["usage_90d"] + 1}}
    open_one = {"episode_id": "x", "signal": "usage.decline", "severity": "info"}
    more = {**health, "open_episodes": [*health["open_episodes"], open_one]}
    for wrong, law in ((count, "usage_90d is"), (more, "open episode x")):
        record = said[key]._replace(value=json.dumps(wrong).encode(), offset=1 << 40)
        assert law in problems(health=[*good.health, record])
    assert f"health of {key.decode()} is missing" in problems(health=[r for r in good.health if r.key != key])


def test_live_in_memory_with_a_paused_worker_and_a_clock_that_jumps(fault_run: Runs) -> None:
    with fault_run(store="memory", settings=LIVE) as run:
        run.start_worker("a", CLOCK_OF_TEST="8:86400,20:-86400")
        run.start_worker("b", ready=False)
        run.load(Live(120, seconds=18))
        run.progress()
        run.ready("b")
        run.freeze("a")
        time.sleep(8)
        run.thaw("a")
        run.progress()
        run.terminate("b")
        run.progress()
        run.settle()
        run.check()
