"""The runtime on a real broker, over the engine double: nothing lost, nothing twice, the order of a replay kept."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka import Producer

from deploy.local.kafka import LocalKafka
from schemas.dead_letters import DEAD_LETTER_TOPIC
from services.signals.runtime.failpoints import VARIABLE
from services.signals.runtime.poison import PoisonLog
from tests.conftest import clean_environment
from tests.faults import bench
from tests.harness import ebbtide, wait_for


@pytest.fixture(params=["chunked", "guarded"])
def group(kafka: LocalKafka, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[bench.Group]:
    """Topics made anew, an application id of its own, and each runtime in turn."""
    app_id = f"engine-{uuid.uuid4().hex[:8]}"
    env = clean_environment() | {"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "EBBTIDE_ENGINE_APP_ID": app_id}
    kafka.delete_all_topics()
    ebbtide("topics", "apply", env=env)
    workers = bench.Group(kafka.bootstrap, tmp_path, app_id, {"EBBTIDE_ENGINE_RUNTIME": request.param})
    yield workers
    workers.end()


def settle(group: bench.Group, records: int, within: float = 60.0) -> None:
    """Wait until the states hold `records` events."""

    def applied() -> bool:
        return sum(account.count for account in bench.states(group.bootstrap, group.app_id).values()) >= records

    try:
        wait_for(f"{records} events applied", applied, within=within, every=0.3)
    except AssertionError as error:
        have = sum(account.count for account in bench.states(group.bootstrap, group.app_id).values())
        raise AssertionError(f"{error}; have {have}\n{group.logs()}") from None


def assert_exact(group: bench.Group) -> None:
    """The states are what the input topics give, and every transition is there once with one value."""
    truth = bench.inputs(group.bootstrap)
    states = bench.states(group.bootstrap, group.app_id)
    assert {name: (account.count, account.total) for name, account in states.items()} == truth, group.logs()
    found = bench.transitions(group.bootstrap)
    wanted = {f"{name}:{n}" for name, (count, _) in truth.items() for n in range(5, count + 1, 5)}
    assert set(found) == wanted
    assert not [name for name, values in found.items() if len(values) > 1]


def test_records_and_ticks_become_state_signals_and_dead_letters(group: bench.Group) -> None:
    group.start("a", EBBTIDE_TICKS="on", EBBTIDE_TICK_INTERVAL_S="0.5")
    now = time.time()
    good = [
        bench.Message(topic, f"account-{i % 7}", bench.event(topic, f"account-{i % 7}", f"{topic}-{i}", now + i / 1e3))
        for i in range(60)
        for topic in bench.INPUT_TOPICS
    ]
    bad = [bench.Message("usage", "account-1", b"{not json"), bench.Message("invoices", "account-2", b"[]")]
    bench.send(group.bootstrap, [*good, *bad])
    settle(group, len(good))
    assert_exact(group)
    letters = wait_for("two dead letters", lambda: bench.read(group.bootstrap, DEAD_LETTER_TOPIC))
    assert {message.value() for message in letters} == {b"{not json", b"[]"}
    headers = dict(next(message.headers() for message in letters if message.value() == b"[]"))
    assert headers["reason"] == b"malformed"
    assert headers["source_topic"] == b"invoices"
    assert headers["source_offset"] == b"%d" % int(headers["source_offset"])
    ticks = [message for message in bench.read(group.bootstrap, "accounts") if message.key() is None]
    assert ticks
    said = json.loads(ticks[-1].value())["data"]
    assert said["historical"] is False
    with urllib.request.urlopen(f"{group.urls['a']}/metrics") as answer:
        text = answer.read().decode()
    assert 'ebbtide_engine_records_total{outcome="dead",topic="usage"} 2.0' in text  # the double counts in one row
    assert group.terminate("a") < 3.0
    assert bench.committed(group.bootstrap, group.app_id) <= 20  # ticks that came while it stopped


def test_producers_compress_as_they_like(group: bench.Group) -> None:
    group.start("a")
    codecs = ("gzip", "snappy", "lz4", "zstd")
    for codec in codecs:
        said = [bench.event("usage", "account-1", f"{codec}-{i}", time.time()) for i in range(20)]
        bench.send(group.bootstrap, [bench.Message("usage", "account-1", value) for value in said], compression=codec)
    settle(group, 20 * len(codecs))
    assert_exact(group)


def test_no_event_is_lost_or_counted_twice_when_workers_die_and_join(group: bench.Group) -> None:
    group.start("a")
    load = bench.Load(group.bootstrap, rate=800)
    try:
        time.sleep(1.5)
        group.start("b", ready=False)
        time.sleep(3)
        group.kill("a")
        time.sleep(1)
        group.start("a", ready=False)
        time.sleep(8)
        group.ready("b")
        group.terminate("b")
        time.sleep(2)
    finally:
        sent = load.finish()
    group.ready("a")
    settle(group, sent)
    assert_exact(group)
    group.terminate("a")
    assert bench.committed(group.bootstrap, group.app_id) == 0


def test_a_replay_keeps_the_files_order_over_topics_and_a_kill(group: bench.Group) -> None:
    recording = bench.Recording.make(8000)
    group.start("a", EBBTIDE_TICKS="after-replay")
    replay = bench.Replay(group.bootstrap, recording, rate=2000)
    time.sleep(2.0)
    group.kill("a")
    group.start("a", EBBTIDE_TICKS="after-replay")
    replay.join()
    settle(group, len(recording.events))
    accounts, transitions = recording.truth()
    states = bench.states(group.bootstrap, group.app_id)
    wrong = [name for name, account in accounts.items() if states[name].ordered != account.ordered]
    assert not wrong, f"{len(wrong)} of {len(accounts)} accounts\n{group.logs()}"
    found = bench.transitions(group.bootstrap)
    assert found == {name: {value} for name, value in transitions.items()}
    ticks = [message for message in bench.read(group.bootstrap, "usage") if message.key() is None]
    assert ticks[-1].headers() is None, "the last tick is live"


def test_crashes_between_effects_repeat_and_change_nothing(group: bench.Group) -> None:
    crash_at(group, ("before-dead-letters", "state-acknowledged", "signals-sent"), raising="signals-acknowledged")


def crash_at(group: bench.Group, places: Sequence[str], *, raising: str | None = None) -> None:
    """Kill a worker at each of these places, one after another, and compare with an undisturbed run. At `raising` one
    fails: it must say why and exit with 1."""
    recording = bench.Recording.make(2500)
    bench.send(group.bootstrap, recording.messages())
    for place in places:
        group.start(place, ready=False, **{VARIABLE: f"{place}:2:kill"}, EBBTIDE_ENGINE_BATCH="100")
        assert group.processes[place].wait(60) == -9, group.log(place)
    if raising is not None:
        group.start(raising, ready=False, **{VARIABLE: f"{raising}:2:raise"}, EBBTIDE_ENGINE_BATCH="100")
        assert group.processes[raising].wait(60) == 1, group.log(raising)
        (said,) = [line for line in group.log(raising).splitlines() if "the engine ends" in line]
        assert f"FailpointReached('{raising}')" in said
    group.start("last")
    settle(group, len(recording.events))
    accounts, transitions = recording.truth()
    states = bench.states(group.bootstrap, group.app_id)
    assert {name: states[name].ordered for name in accounts} == {n: a.ordered for n, a in accounts.items()}
    assert bench.transitions(group.bootstrap) == {name: {value} for name, value in transitions.items()}


def test_marks_of_transactions_are_gone_past_and_hold_nothing_back(group: bench.Group) -> None:
    """The mark of a transaction takes an offset and is no record: here one ends each partition, and records follow."""
    group.start("a")
    producer = Producer(
        {"bootstrap.servers": group.bootstrap, "transactional.id": group.app_id, "transaction.timeout.ms": 10_000}
    )
    producer.init_transactions(20)
    accounts = [f"account-{n}" for n in range(12)]
    sent = 0

    def transaction(turn: int) -> None:
        producer.begin_transaction()
        for name in accounts:
            value = bench.event("usage", name, f"{name}-{turn}", time.time())
            producer.produce("usage", value, name, partition=bench.partition_of(name.encode(), bench.PARTITIONS))
        producer.commit_transaction(20)

    def measured(name: str) -> list[float]:
        with urllib.request.urlopen(f"{group.urls['a']}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return [float(line.split()[-1]) for line in lines if line.startswith(name)]

    for turn in range(3):
        transaction(turn)
        sent += len(accounts)
        settle(group, sent)
        # The broker's end is past the mark. A group that stays before it would look as if it lagged for ever.
        wait_for("all is committed", lambda: bench.committed(group.bootstrap, group.app_id) == 0, within=15)
    wait_for("no lag is told of", lambda: not any(measured("ebbtide_engine_lag_records")), within=5)
    assert measured("ebbtide_engine_behind_seconds") == [0.0]
    group.kill("a")
    transaction(3)
    transaction(4)
    group.start("b")
    settle(group, sent + 2 * len(accounts))
    wait_for("all is committed", lambda: bench.committed(group.bootstrap, group.app_id) == 0, within=15)
    assert_exact(group)


def test_a_record_that_crashes_the_engine_becomes_a_dead_letter_after_three_tries(group: bench.Group) -> None:
    now = time.time()
    ids = ["one", "crash-always", "two"]
    bench.send(group.bootstrap, [bench.Message("usage", "a", bench.event("usage", "a", name, now)) for name in ids])
    number = bench.partition_of(b"a", bench.PARTITIONS)
    earlier = PoisonLog(group.folder / "engine" / group.app_id / "poison.json")
    assert [earlier.failed("usage", number, 1) for _ in range(2)] == [1, 2]
    group.start("third", ready=False)
    assert group.processes["third"].wait(60) == 1, group.log("third")
    assert "goes to dead-letters as poison" in (group.folder / "third.log").read_text()
    group.start("last")
    settle(group, 2)
    (letter,) = wait_for("a dead letter", lambda: bench.read(group.bootstrap, DEAD_LETTER_TOPIC))
    assert dict(letter.headers())["reason"] == b"poison"
    assert b"crash-always" in letter.value()


def test_what_a_woken_worker_wrote_does_not_end_its_successor(group: bench.Group) -> None:
    """Old state of a lower epoch lands in the changelog, between two effects of the worker that has the partitions now."""
    group.start("a")
    now = time.time()
    names = [f"account-{n}" for n in range(8)]

    def events(turn: int) -> list[bench.Message]:
        return [bench.Message("usage", name, bench.event("usage", name, f"{name}-{turn}", now)) for name in names]

    bench.send(group.bootstrap, events(1))
    settle(group, len(names))
    late = Producer({"bootstrap.servers": group.bootstrap})
    for name in [*names, "never-seen"]:
        value = bench.double.Account(effect=99, count=99).encode(0)
        number = bench.partition_of(name.encode(), bench.PARTITIONS)
        late.produce(f"{group.app_id}-state-changelog", value, name, partition=number)
    assert late.flush(10) == 0
    # Only some accounts are written by the next effect: the others have to be written again for their own sake.
    bench.send(group.bootstrap, [message for name in names[:3] for message in events(2) if message.key == name])
    settle(group, len(names) + 3)
    wait_for("the worker to say so", lambda: "passed over" in (group.folder / "a.log").read_text())
    assert_exact(group)
    group.kill("a")
    group.start("b", EBBTIDE_ENGINE_STORE="memory")
    bench.send(group.bootstrap, events(3))
    settle(group, 2 * len(names) + 3)
    assert_exact(group)


def test_unequal_partition_counts_are_refused_with_what_to_do(clean_topics: LocalKafka, tmp_path: Path) -> None:
    env = clean_environment() | {
        "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": clean_topics.bootstrap,
        "EBBTIDE_ENGINE_APP_ID": f"odd-{uuid.uuid4().hex[:6]}",
        "EBBTIDE_DATA_DIR": str(tmp_path),
        "EBBTIDE_METRICS_PORT_ENGINE": str(bench.free_ports(1)[0]),
    }
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": clean_topics.bootstrap})
    name = f"{env['EBBTIDE_ENGINE_APP_ID']}-state-changelog"
    admin.create_topics([NewTopic(name, 3, 1)])[name].result()
    done = subprocess.run(
        [bench.sys.executable, "-m", "tests.faults.double"],
        cwd=bench.ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "different numbers of partitions" in done.stderr
    assert "ebbtide topics apply" in done.stderr
