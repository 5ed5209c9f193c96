"""What one event costs the engine: `python -m tests.bench engine`. CPU µs an event of the worker process, events/s, memory.

The workload (tests/bench/workload.py) is appended to the topics first; then `ebbtide serve engine` starts and works it
off. It is measured from the first record that it counts as applied until the last is, and until what the last tick made
due is done. So its start is left out and every effect is in: state with its outbox acknowledged by the broker, signals
and health acknowledged, positions committed.

How time moves: with `--clock events` (the default) nobody ticks, as after an outage. An account's clock is then that of its
own newest event, and midnights and deadlines that lie between two of its events are judged when the later one comes. With
`--clock midnights` the log holds a live tick for each midnight on every input topic, and every account is woken at each
midnight at which something of it may change, as in running operation. The workers themselves never tick here: the
present is long after the recorded time, and one tick would judge all of the silence in between.

Yardsticks of the same run: fetching and decoding alone (aiokafka's getmany and the product's decode), and a stock Faust
agent with a table write per event (tests/bench/stock_faust.py) on the first events of the same log: its cost per event
does not depend on their number.

Seen to be right at the end: records − ticks = applied + duplicate + refused, applied = appended; and, up to `--check`
events, that every transition on the topics is byte for byte one of a run of the pure core over the same records.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.codec import Refusal, decode
from schemas.events import INPUT_TOPICS
from schemas.health import HEALTH_TOPIC
from schemas.signals import OPPORTUNITY_TOPIC, RISK_TOPIC
from services.common.kafka import partition_of
from services.common.recording import FUTURE_US
from services.signals.backtest.run import MemoryStore
from services.signals.catalogue import load
from services.signals.core import transitions
from services.signals.core.partition import PartitionEngine
from tests.bench.report import Cell, Report, Table
from tests.bench.stage import Cost, Running, Stage, cost, outcomes, until
from tests.bench.workload import Workload
from tests.harness import ROOT

SIGNAL_TOPICS = (RISK_TOPIC, OPPORTUNITY_TOPIC)
SLICE = "bench-slice"
LOOK_EVERY_S = 0.5
QUIET_LOOKS = 5
FLUSH_BYTES = 32_000_000


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--events", type=int, default=100_000, help="usage events (the stated workload: 2000000)")
    parser.add_argument("--accounts", type=int, default=2_000, help="accounts (stated: 20000)")
    parser.add_argument("--days", type=int, default=120, help="days that the events span")
    parser.add_argument("--uniform", action="store_true", help="every event on another account, instead of Zipf")
    parser.add_argument("--steady", action="store_true", help="accounts with a rhythm of their own, instead of chance")
    parser.add_argument("--no-profiles", action="store_true", help="no account.updated before the first event")
    parser.add_argument("--clock", choices=("events", "midnights"), default="events", help="what moves the clock")
    parser.add_argument(
        "--store", choices=("rocksdb", "memory", "both"), default="both", help="local copy of the state"
    )
    parser.add_argument("--batch", type=int, default=None, help="EBBTIDE_ENGINE_BATCH")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--stock", type=int, default=20_000, help="events for stock Faust, 0 to leave it out")
    parser.add_argument("--decode", type=int, default=500_000, help="events for fetch and decode, 0 to leave it out")
    parser.add_argument("--check", type=int, default=200_000, help="most events that the pure core runs beside it")
    parser.add_argument("--keep", type=Path, help="keep the broker's data in this folder, and use what is in it")
    parser.add_argument("--profile", type=Path, help="write a profile of the worker here and print where its CPU goes")


def run(given: argparse.Namespace) -> Report:
    """Fill, measure each store, measure the yardsticks, compare."""
    workload = Workload(
        events=given.events,
        accounts=given.accounts,
        days=given.days,
        uniform=given.uniform,
        profiles=not given.no_profiles,
        midnights=given.clock == "midnights",
        steady=given.steady,
    )
    costs = Table(
        f"CPU of one worker process, {workload.events:,} events of {workload.accounts:,} accounts"
        f" ({'each on another' if workload.uniform else 'Zipf'}{', steady' if workload.steady else ''}),"
        f" clock by {given.clock}",
        ("what", "µs/event", "events/s", "x decode", "x cheaper than stock", "broker µs/event", "peak RSS MiB"),
    )
    written = Table(
        "Written per event",
        ("what", "state records", "state bytes", "signals", "health", "health bytes", "transitions"),
    )
    right = Table("Counted", ("what", "appended", "applied", "duplicate", "dead", "transitions as the core's"))
    report = Report("engine", _given(workload, given), [costs, written, right])
    measured: list[tuple[str, float, float, float | None, int | None]] = []
    with Stage(keep=given.keep, partitions=given.partitions) as stage:
        filled(stage, workload)
        if given.decode:
            most = min(given.decode, workload.events)
            measured.append(("fetch and decode alone", *uvloop.run(fetch_and_decode(stage, most)), None, None))
        if given.stock:
            measured.append(("stock Faust, table write per event", *stock_faust(stage, workload, given.stock), None))
        truth = straight_run(workload, stage.partitions) if workload.events <= given.check else None
        for store in ("memory", "rocksdb") if given.store == "both" else (given.store,):
            name = f"ebbtide engine, {store}"
            result = work_off(stage, workload, store=store, batch=given.batch, profile=given.profile)
            measured.append((name, result.us, result.rate, result.broker_us, result.peak))
            written.rows.append((name, *result.written))
            same: Cell = "not compared" if truth is None else compare(result.transitions, truth)
            right.rows.append((name, workload.count(), *result.counted, same))
            if given.profile is not None:
                report.tables += profile_tables(given.profile, result.us, name)
    decode_us = next((us for name, us, *_ in measured if name.startswith("fetch")), None)
    stock_us = next((us for name, us, *_ in measured if name.startswith("stock")), None)
    for name, us, rate, broker_us, peak in measured:
        costs.rows.append(
            (
                name,
                us,
                rate,
                us / decode_us if decode_us else None,
                stock_us / us if stock_us else None,
                broker_us,
                None if peak is None else peak / 2**20,
            )
        )
    report.remarks.append(
        "one broker with replication 1 on the same cores; µs/event is the worker's own user and system time, of all threads"
    )
    return report


def _given(workload: Workload, given: argparse.Namespace) -> dict[str, Cell]:
    more = {"store": given.store, "batch": given.batch, "partitions": given.partitions}
    return asdict(workload) | more


def filled(stage: Stage, workload: Workload) -> None:
    """Append the workload, unless the kept folder says that it is there."""
    note = stage.folder / "filled.json"
    wanted = asdict(workload) | {"partitions": stage.partitions}
    if note.exists() and json.loads(note.read_text()) == wanted:
        return
    note.unlink(missing_ok=True)
    if stage.ends("usage"):
        stage.kafka.delete_all_topics()
    stage.topics("bench")
    started = time.monotonic()
    count = stage.fill(workload.records())
    note.write_text(json.dumps(wanted))
    size = sum(map(stage.bytes_of, INPUT_TOPICS))
    took = time.monotonic() - started
    print(f"appended {count:,} records, {size / count:.0f} bytes each on the broker, {count / took:,.0f}/s", flush=True)


class Result(msgspec.Struct):
    """What one worker's run over the log was measured to cost and write."""

    us: float
    rate: float
    broker_us: float
    peak: int
    written: tuple[float, ...]
    counted: tuple[int, int, int]
    transitions: dict[str, bytes]


def work_off(
    stage: Stage,
    workload: Workload,
    *,
    store: str,
    batch: int | None = None,
    profile: Path | None = None,
    workers: int = 1,
) -> Result:
    """Start workers under a new app id on what the topics hold; stop them when all is applied."""
    app_id = stage.new_app()
    changelog = f"{app_id}-state-changelog"
    before = {topic: stage.ends(topic) for topic in (*SIGNAL_TOPICS, HEALTH_TOPIC)}
    health_bytes = stage.bytes_of(HEALTH_TOPIC)
    chosen = {"engine_store": store, "log_level": "warning"} | ({"engine_batch": batch} if batch else {})
    total = workload.count()
    with ExitStack() as stack:
        engines = [
            stack.enter_context(
                stage.service(
                    "engine",
                    stage.environment(app_id, **chosen),
                    ready=False,
                    log=f"{app_id}-{number}",
                    sampled=profile if number == 0 else None,
                )
            )
            for number in range(workers)
        ]
        first, last = follow(stage, engines, total, changelog)
        done: Counter[str] = Counter()
        for engine in engines:
            done.update(outcomes(engine.metrics()))
    events = last.applied - first.applied
    state = sum(stage.ends(changelog).values())
    out = {topic: grown(stage.ends(topic), before[topic]) for topic in before}
    signals = sum(out[topic] for topic in SIGNAL_TOPICS)
    found: dict[str, bytes] = {}
    for topic in SIGNAL_TOPICS:
        for _, value, _ in stage.records(topic, before[topic]):
            assert value is not None
            found[json.loads(value)["id"]] = value
    written = (
        state / total,
        stage.bytes_of(changelog) / total,
        signals / total,
        out[HEALTH_TOPIC] / total,
        (stage.bytes_of(HEALTH_TOPIC) - health_bytes) / total,
        float(len(found)),
    )
    stage.delete_topics([changelog])
    return Result(
        us=(last.engine.cpu_s - first.engine.cpu_s) / events * 1e6,
        rate=events / (last.engine.at - first.engine.at),
        broker_us=(last.broker.cpu_s - first.broker.cpu_s) / events * 1e6,
        peak=max(engine.peak for engine in engines),
        written=written,
        counted=(done["applied"], done["duplicate"], done["dead"]),
        transitions=found,
    )


class Mark(msgspec.Struct):
    """How far the workers were, and what they and the broker had used by then; `resident` is the greatest of them."""

    applied: int
    engine: Cost
    broker: Cost


def follow(stage: Stage, engines: list[Running], total: int, changelog: str) -> tuple[Mark, Mark]:
    """The first mark at which all worked and something was applied, and the one at which everything was.

    Everything: all events, and then the deadlines that the last ticks made due, until no more state was written.
    """
    marks: list[Mark] = []
    wrote: list[int] = []

    def look() -> bool:
        counted: Counter[str] = Counter()
        have = 0.0
        for engine in engines:
            metrics = engine.metrics()
            counted.update(outcomes(metrics))
            have += bool(metrics.get(("ebbtide_engine_partitions",)))
        costs = [engine.cost() for engine in engines]
        used = Cost(costs[-1].at, sum(c.cpu_s for c in costs), max(c.resident for c in costs))
        mark = Mark(counted["applied"], used, stage.broker_cost())
        if counted["applied"] + counted["duplicate"] + counted["dead"] >= total:
            wrote.append(sum(stage.ends(changelog).values()))
        working = len(wrote) < 2 or wrote[-1] != wrote[-2]
        if mark.applied and have == len(engines) and working:
            marks.append(mark)
        return len(wrote) >= QUIET_LOOKS and len(set(wrote[-QUIET_LOOKS:])) == 1

    until(f"{total} events applied", look, engines, within=120 + total / 1000, every=LOOK_EVERY_S)
    if len(marks) < 2 or marks[0].applied == marks[-1].applied:
        raise RuntimeError(f"all {total} events were applied between two looks: ask for more --events")
    return marks[0], marks[-1]


def grown(now: dict[int, int], before: dict[int, int]) -> int:
    """Records appended since."""
    return sum(end - before.get(number, 0) for number, end in now.items())


# -- what is right ------------------------------------------------------------------------------------------------


def straight_run(workload: Workload, partitions: int) -> dict[str, bytes]:
    """The transitions of the pure core over the same records, undisturbed, by id."""
    stores = [MemoryStore() for _ in range(partitions)]
    engines = [
        PartitionEngine(number, INPUT_TOPICS, load(), store, partitions=partitions, with_health=False)
        for number, store in enumerate(stores)
    ]
    for engine in engines:
        engine.keep_transitions = True
    offsets: Counter[tuple[str, int]] = Counter()
    not_after = time.time_ns() // 1000 + FUTURE_US
    for topic, key, value in workload.records():
        event = decode(topic, key, value)
        assert not isinstance(event, Refusal), event
        for number in range(partitions) if key is None else (partition_of(key, partitions),):
            engine = engines[number]
            engine.apply(INPUT_TOPICS.index(topic), offsets[topic, number], key, value, event, not_after)
            offsets[topic, number] += 1
            while key is None and engine.work(1000):
                pass
            if engine.pending_bytes > FLUSH_BYTES:
                for name, state in engine.take(0, 0.0).state:
                    if state is None:
                        stores[number].pop(name, None)
                    else:
                        stores[number][name] = state
    return {change.id: transitions.encode(change) for engine in engines for change in engine.transitions}


def compare(found: dict[str, bytes], truth: dict[str, bytes]) -> str:
    """`all 17`, or how many are missing, added and different."""
    missing, added = len(truth.keys() - found.keys()), len(found.keys() - truth.keys())
    different = sum(found[name] != value for name, value in truth.items() if name in found)
    if missing or added or different:
        return f"NO: {missing} missing, {added} more, {different} different"
    return f"all {len(truth)}"


# -- yardsticks ---------------------------------------------------------------------------------------------------


async def fetch_and_decode(stage: Stage, most: int) -> tuple[float, float]:
    """CPU µs an event and events/s of reading topic `usage` and decoding every value, in this process."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stage.kafka.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition("usage", number) for number in range(stage.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        await consumer.getmany(timeout_ms=1000, max_records=1)
        count, cpu, since = 0, time.process_time(), time.monotonic()
        while count < most - stage.partitions:
            fetched = await consumer.getmany(timeout_ms=1000, max_records=2000)
            if not fetched:
                break
            for records in fetched.values():
                for record in records:
                    decode("usage", record.key, record.value)
                count += len(records)
        return (time.process_time() - cpu) / count * 1e6, count / (time.monotonic() - since)
    finally:
        await consumer.stop()


def stock_faust(stage: Stage, workload: Workload, most: int) -> tuple[float, float, float]:
    """CPU µs an event, events/s and the broker's µs an event of the stock agent on the first `most` events."""
    stage.delete_topics([SLICE])
    asyncio.run(_make_topic(stage, SLICE))
    usage = replace(workload, profiles=False, midnights=False)
    total = stage.fill(usage.records(), SLICE, most=most)
    app_id = f"stock-{uuid.uuid4().hex[:8]}"
    changelog = f"{app_id}-accounts-changelog"
    log = stage.folder / "stock.log"
    arguments = [stage.kafka.bootstrap, app_id, SLICE, str(stage.partitions), str(stage.folder / app_id)]
    marks: list[tuple[int, Cost, Cost]] = []
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.stock_faust", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 120 + total / 200
        while not marks or marks[-1][0] < total:
            # One changelog record a write is how far it is: nothing has to be put into the agent to know it.
            count = sum(stage.ends(changelog).values())
            if count:
                marks.append((count, cost(process.pid), stage.broker_cost()))
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the stock agent did not get through ({count} of {total}): see {log}")
            time.sleep(LOOK_EVERY_S)
    finally:
        process.kill()
        process.wait()
        stage.delete_topics([SLICE, changelog])
    (count_0, stock_0, broker_0), (count_1, stock_1, broker_1) = marks[0], marks[-1]
    events = count_1 - count_0
    return (
        (stock_1.cpu_s - stock_0.cpu_s) / events * 1e6,
        events / (stock_1.at - stock_0.at),
        (broker_1.cpu_s - broker_0.cpu_s) / events * 1e6,
    )


async def _make_topic(stage: Stage, name: str) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=stage.kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=stage.partitions, replication_factor=1)])
    finally:
        await admin.close()


# -- where the CPU goes -------------------------------------------------------------------------------------------


LAYERS = (
    ("fetch: the consumer's thread", ("mode/threads.py:ServiceThread._start_thread",)),
    ("decode", ("services/signals/runtime/records.py:prepare",)),
    ("merge, queues, positions", ("services/signals/runtime/stream.py", "services/signals/runtime/merge.py")),
    ("health records", ("services/signals/core/partition.py:PartitionEngine._publish_health",)),
    ("state to bytes", ("services/signals/core/partition.py:PartitionEngine._records_of",)),
    (
        "ids of the last 24 h",
        tuple(f"services/signals/core/partition.py:PartitionEngine.{n}" for n in ("_store_ids", "_ids", "_seen")),
    ),
    (
        "transitions to bytes",
        ("services/signals/core/partition.py:PartitionEngine._emit", "services/signals/core/transitions.py"),
    ),
    ("judge signals", ("services/signals/core/engine.py:Engine.judge", "services/signals/catalogue/")),
    ("day rolls", ("services/signals/core/engine.py:Engine._roll",)),
    ("apply the event", ("services/signals/core/engine.py:Engine.apply", "services/signals/core/apply.py")),
    (
        "deadlines: which, when",
        (
            "services/signals/core/engine.py:Engine.advance",
            "services/signals/core/partition.py:PartitionEngine._queue_touched",
        ),
    ),
    (
        "accounts from bytes",
        (
            "services/signals/core/partition.py:PartitionEngine._account",
            "services/signals/core/partition.py:PartitionEngine.user",
        ),
    ),
    ("append, publish, local copy", ("services/signals/runtime/effects.py", "services/signals/runtime/stores.py")),
)
REST = (
    ("the rest of the core", ("services/signals/core/",)),
    ("the rest of the worker", ("services/signals/runtime/worker.py",)),
)
"""What a stack is charged to: the layer of its innermost frame that has one, else the first of these."""


def layer_of(stack: list[str]) -> str:
    """The layer that a stack's time belongs to."""
    for layers in (LAYERS, REST):
        for frame in reversed(stack):
            for layer, places in layers:
                if frame.startswith(places):
                    return layer
    return "event loop, producer, commits"


def profile_tables(profile: Path, us: float, name: str, rows: int = 40) -> list[Table]:
    """Layers, functions by own time, and functions with what they call, as µs an event.

    Shares of the whole run but for imports.
    """
    samples: list[tuple[float, list[str]]] = [
        (spent, stack) for spent, stack in json.loads(profile.read_text()) if not any("importlib" in f for f in stack)
    ]
    layers: dict[str, float] = defaultdict(float)
    own: dict[str, float] = defaultdict(float)
    within: dict[str, float] = defaultdict(float)
    for spent, stack in samples:
        layers[layer_of(stack)] += spent
        own[stack[-1]] += spent
        for frame in set(stack):
            if frame.startswith(("services/signals/", "schemas/")):
                within[frame] += spent
    total = math.fsum(own.values())
    tables = []
    for title, counted in (("by layer", layers), ("own", own), ("with what it calls", within)):
        table = Table(f"Where the CPU goes ({title}), {name}", ("where", "share %", "µs/event"))
        for place, spent in sorted(counted.items(), key=lambda entry: -entry[1])[:rows]:
            table.rows.append((place, 100 * spent / total, us * spent / total))
        tables.append(table)
    return tables
