"""What it would cost to let the broker enforce the order of effects: `python -m tests.bench transactions`.

Two forms of one small worker (`tests/bench/transactional.py`), on one broker, over the same log: effects in order behind
the epoch fence, and one transaction per batch and partition. Costs are CPU time of the worker and of the broker; what
runs beside them on the machine moves wall time only. The log holds usage of 5,000 accounts over 60 days and surveys that
raise a signal at once. Every scene ends with a comparison of the transitions by id and bytes, and of every account's
state, with the core run straight over the log. EBBTIDE_BENCH_EVENTS (100000) is the number of events of the cost scene,
EBBTIDE_BENCH_SCENES (all of `ALL_SCENES`) names those to run.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import Consumer, Producer

from deploy.local.kafka import LocalKafka
from schemas.events import INPUT_TOPICS
from schemas.signals import OPPORTUNITY_TOPIC, RISK_TOPIC
from services.common import topics
from services.common.kafka import end_offsets, partition_of
from services.signals.catalogue import load
from services.signals.core import codec
from services.signals.core.codec import epoch_of
from services.signals.core.health import health
from services.signals.core.partition import PartitionEngine
from services.signals.runtime.failpoints import VARIABLE
from services.signals.runtime.fence import Fence
from services.signals.runtime.records import prepare
from services.signals.runtime.stores import MemoryStore
from tests.bench.transactional import FENCED, PARTITIONS
from tests.conftest import clean_environment
from tests.faults.brokers import Cluster
from tests.harness import ROOT, free_ports

FORMS = ("fence", "transactions")
EVENTS = int(os.environ.get("EBBTIDE_BENCH_EVENTS", "100000"))
ALL_SCENES = "cost,live,takeover,zombie,hanging,overslept,broker,coordinator"
SCENES = os.environ.get("EBBTIDE_BENCH_SCENES", ALL_SCENES).split(",")
ACCOUNTS, DAYS = 5_000, 60
LIVE_RATE, LIVE_S, PROBE_EVERY = 1_000, 15.0, 20
TIMEOUT_MS = 60_000
SHORT_TIMEOUT_MS = 10_000
START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)

QUIET: dict[str, Any] = {"log_level": 0}
"""rdkafka tells of every refused connection while a broker is down."""

Log = dict[TopicPartition, list[Any]]


# --- the workload --------------------------------------------------------------------------------------------------


def usage(account: str, name: str, at: dt.datetime) -> tuple[str, bytes, bytes]:
    """A use of a feature, of about 300 bytes."""
    event = {
        "specversion": "1.0", "id": name, "source": "bench", "type": "usage.feature_used", "subject": account,
        "time": at.isoformat(), "data": {"feature": "report", "user": f"u{len(name) % 5}", "count": 1, "core": True,
        "environment": "production", "channel": "web", "team": "finance"},
    }  # fmt: skip
    return "usage", account.encode(), msgspec.json.encode(event)


def survey(account: str, at: dt.datetime) -> tuple[str, bytes, bytes]:
    """An answer that raises a signal at once. The id of the account says who waits for it."""
    event = {
        "specversion": "1.0", "id": account, "source": "bench", "type": "survey.answered", "subject": account,
        "time": at.isoformat(), "data": {"survey_id": "s", "kind": "nps", "score": 1, "user": "ana"},
    }  # fmt: skip
    return "engagement", account.encode(), msgspec.json.encode(event)


def history(count: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Usage in time order, accounts by Zipf; one in a hundred is a survey."""
    chance = random.Random(1)
    weights = list(accumulate(1 / rank for rank in range(1, ACCOUNTS + 1)))
    for number, account in enumerate(chance.choices(range(ACCOUNTS), cum_weights=weights, k=count)):
        at = START + dt.timedelta(days=DAYS) * (number / count)
        yield survey(f"asked-{number}", at) if not number % 100 else usage(f"acct-{account}", f"e{number}", at)


def send(bootstrap: str, records: Iterator[tuple[str, bytes, bytes]]) -> int:
    """Append them; returns how many once all are acknowledged."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True} | QUIET)
    count = 0
    for topic, key, value in records:
        while True:
            try:
                producer.produce(topic, value, key, partition=partition_of(key, PARTITIONS))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        count += 1
    assert producer.flush(60) == 0
    return count


class Live(threading.Thread):
    """LIVE_RATE events a second at the present time. `asked` says when the survey of each account was sent."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__()
        self.asked: dict[bytes, float] = {}
        self.sent = 0
        self._servers = bootstrap
        self._enough = threading.Event()
        self.start()

    def run(self) -> None:
        producer = Producer({"bootstrap.servers": self._servers, "linger.ms": 1, "enable.idempotence": True} | QUIET)
        began, run = time.monotonic(), uuid.uuid4().hex[:6]
        while not self._enough.is_set():
            at = dt.datetime.now(dt.UTC)
            if self.sent % PROBE_EVERY:
                topic, key, value = usage(f"acct-{self.sent * 7919 % ACCOUNTS}", f"{run}-{self.sent}", at)
            else:
                topic, key, value = survey(f"{run}-{self.sent}", at)
                self.asked[key] = time.monotonic()
            while True:
                try:
                    producer.produce(topic, value, key, partition=partition_of(key, PARTITIONS))
                    break
                except BufferError:  # while no broker takes anything
                    producer.poll(0.1)
            self.sent += 1
            producer.poll(0)
            time.sleep(max(0.0, began + self.sent / LIVE_RATE - time.monotonic()))
        assert producer.flush(60) == 0

    def finish(self) -> None:
        self._enough.set()
        self.join()


class Watch(threading.Thread):
    """Reads the risk topic from its end on. `seen` says when an account's first transition could be read."""

    def __init__(self, bootstrap: str, isolation: str = "read_committed") -> None:
        super().__init__(daemon=True)
        self.seen: dict[bytes, float] = {}
        self._enough = threading.Event()
        self._assigned = threading.Event()
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "isolation.level": isolation, "log_level": 0,
             "auto.offset.reset": "earliest", "fetch.wait.max.ms": 50, "enable.auto.commit": False}
        )  # fmt: skip
        self._consumer.subscribe([RISK_TOPIC], on_assign=lambda *_: self._assigned.set())
        self.start()
        assert self._assigned.wait(30)

    def run(self) -> None:
        while not self._enough.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.seen.setdefault(message.key() or b"", time.monotonic())

    def finish(self) -> None:
        self._enough.set()
        self.join()
        self._consumer.close()


# --- workers, and what they left -----------------------------------------------------------------------------------


class Worker:
    """One worker process and what it said."""

    running: ClassVar[list[Worker]] = []

    def __init__(
        self,
        form: str,
        app_id: str,
        bootstrap: str,
        *options: str,
        fail: str | None = None,
        timeout_ms: int = TIMEOUT_MS,
    ) -> None:
        self.form, self.app_id = form, app_id
        command = [sys.executable, "-m", "tests.bench.transactional", form, app_id, bootstrap]
        self.process = subprocess.Popen(
            [*command, "--timeout-ms", str(timeout_ms), *options],
            cwd=ROOT,
            env=clean_environment() | ({} if fail is None else {VARIABLE: fail}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.running.append(self)
        self.lines: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):  # else the product's own log
                self.lines.put(json.loads(line))

    def said(self, at: str, within: float = 120.0) -> dict[str, Any]:
        """Wait for a line of this kind."""
        deadline = time.monotonic() + within
        while True:
            line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
            if line["at"] == at:
                return line

    def go(self) -> None:
        """Wake a worker on standby."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


async def read(bootstrap: str, names: list[str], isolation: str) -> Log:
    """Every record of these topics that such a reader gets, by partition."""
    found: Log = {place: [] for place in await end_offsets(bootstrap, names)}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level=isolation,
        enable_auto_commit=False,
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    try:
        consumer.assign(list(found))
        ends = await consumer.end_offsets(list(found))
        for place in found:
            consumer.seek(place, 0)
        while any([await consumer.position(place) < ends[place] for place in found]):
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                found[place] += records
        return found
    finally:
        await consumer.stop()


def facts(store: MemoryStore, number: int) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """What the state says of each account, and the partition's counts. Not: how it was cut into effects."""
    catalogue = load()
    engine = PartitionEngine(number, INPUT_TOPICS, catalogue, store, partitions=PARTITIONS)
    engine.restore()
    accounts = {}
    for key, value in store.items():
        if key[:1] == codec.ACCOUNT:
            account = codec.decode_account(key, value, store.get, [], len(INPUT_TOPICS))
            weights = catalogue.weights[account.hot.profile.tier]
            record = health(account, engine.state.world, weights, historical=False, all_days=True)
            told = msgspec.json.decode(msgspec.json.encode(record))
            accounts[key.decode()] = {name: value for name, value in told.items() if name != "sequence"}
    return accounts, engine.counters


class Outcome(msgspec.Struct):
    """What a scene left, held against the core run over the log."""

    transitions: int
    missing: int
    orphans: int
    contradictions: int
    repeats: int
    wrong_accounts: int
    gaps: int

    @property
    def verdict(self) -> str:
        wrong = self.missing or self.contradictions or self.wrong_accounts
        orphans = f", {self.orphans} of no truth" if self.orphans else ""
        return f"{'WRONG: ' + str(self) if wrong else 'exact'}{orphans} ({self.repeats} repeats)"


async def finished(bootstrap: str, app_id: str, isolation: str, within: float = 120.0) -> None:
    """Wait until the state has applied all of the log. Left to the comparison when it does not."""
    deadline = time.monotonic() + within
    ends = await end_offsets(bootstrap, INPUT_TOPICS)
    while time.monotonic() < deadline:
        applied = dict.fromkeys(ends, -1)
        for place, rows in (await read(bootstrap, [f"{app_id}-state-changelog"], isolation)).items():
            store = MemoryStore()
            store.write(Fence(0, epoch_of).accept(rows), None)
            own = store.get(codec.PARTITION)
            if own is not None:
                offsets = codec.decode_partition(codec.PARTITION, own).applied
                applied |= {TopicPartition(t, place.partition): at for t, at in zip(INPUT_TOPICS, offsets, strict=True)}
        if all(applied[place] + 1 >= end for place, end in ends.items()):
            return
        await asyncio.sleep(0.5)


async def outcome(bootstrap: str, app_id: str, isolation: str) -> Outcome:
    """Compare what is on the topics with the truth. `isolation` is the readers'."""
    log = await read(bootstrap, list(INPUT_TOPICS), "read_uncommitted")
    changelog = await read(bootstrap, [f"{app_id}-state-changelog"], isolation)
    signals = await read(bootstrap, [RISK_TOPIC, OPPORTUNITY_TOPIC], isolation)
    truth: dict[str, bytes] = {}
    wrong = 0
    for number in range(PARTITIONS):
        true_store, store = MemoryStore(), MemoryStore()
        engine = PartitionEngine(number, INPUT_TOPICS, load(), true_store, partitions=PARTITIONS)
        for index, topic in enumerate(INPUT_TOPICS):
            for item in prepare(index, topic, number, log[TopicPartition(topic, number)])[1]:
                engine.apply(*item)
        taken = engine.take(1, 0.0)
        true_store.write(taken.state, None)
        truth |= {msgspec.json.decode(value)["id"]: value for _, _, value, _ in taken.signals}
        records = next(rows for place, rows in changelog.items() if place.partition == number)
        store.write(Fence(0, epoch_of).accept(records), None)
        (accounts, counts), (true_accounts, true_counts) = facts(store, number), facts(true_store, number)
        wrong += sum(accounts.get(name) != told for name, told in true_accounts.items())
        wrong += len(accounts.keys() - true_accounts.keys()) + (counts != true_counts)
    said: dict[str, set[bytes]] = {}
    total = 0
    for rows in signals.values():
        for record in rows:
            said.setdefault(msgspec.json.decode(record.value)["id"], set()).add(record.value)
            total += 1
    return Outcome(
        transitions=len(truth),
        missing=len(truth.keys() - said.keys()),
        orphans=len(said.keys() - truth.keys()),
        contradictions=sum(said[name] != {value} for name, value in truth.items() if name in said),
        repeats=total - len(said),
        wrong_accounts=wrong,
        gaps=gaps(signals) + gaps(changelog),
    )


def gaps(log: Log) -> int:
    """Offsets between records that no reader is given: what a hole detector would stumble over."""
    return sum(after.offset - before.offset - 1 for rows in log.values() for before, after in pairwise(rows))


class Stage:
    """A broker, and for each scene topics made anew under an application id of its own."""

    def __init__(self, bootstrap: str, delete_topics: Any, pids: list[int]) -> None:
        self.bootstrap = bootstrap
        self._delete_topics = delete_topics
        self._processes = [psutil.Process(pid) for pid in pids]

    def fresh(self, replication: int = 1) -> str:
        """Topics with nothing in them. Returns the application id."""
        self._delete_topics()
        app_id = f"bench-{uuid.uuid4().hex[:8]}"
        report = asyncio.run(
            topics.apply(self.bootstrap, partitions=PARTITIONS, replication=replication, app_id=app_id)
        )
        assert not report.refused
        return app_id

    def cpu_s(self) -> float:
        """CPU seconds that the broker has used."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)


# --- scenes --------------------------------------------------------------------------------------------------------


def isolation_of(form: str) -> str:
    return "read_committed" if form == "transactions" else "read_uncommitted"


def cost(stage: Stage, form: str, events: int) -> dict[str, float]:
    """A backlog in batches of up to 4,000 records."""
    app_id = stage.fresh()
    count = send(stage.bootstrap, history(events))
    before = stage.cpu_s()
    worker = Worker(form, app_id, stage.bootstrap, "--until", str(count))
    done = worker.said("done", within=600)
    worker.process.wait(30)
    broker = stage.cpu_s() - before
    result = asyncio.run(outcome(stage.bootstrap, app_id, isolation_of(form)))
    print(f"  {form}: {done['batches']} batches, {done['transactions']} transactions; {result.verdict}", flush=True)
    return {
        "core": done["core_s"] / count * 1e6,
        "shell": (done["cpu_s"] - done["core_s"]) / count * 1e6,
        "broker": broker / count * 1e6,
        "rate": count / done["wall_s"],
        "gaps": result.gaps,
    }


def live(stage: Stage, form: str) -> dict[str, float]:
    """LIVE_RATE events a second: time from a survey's sending to its signal, CPU of worker and broker."""
    app_id = stage.fresh()
    watch = Watch(stage.bootstrap, isolation_of(form))
    worker = Worker(form, app_id, stage.bootstrap)
    worker.said("ready")
    load_ = Live(stage.bootstrap)
    time.sleep(3)
    cpu, broker, sent = sum(psutil.Process(worker.process.pid).cpu_times()[:2]), stage.cpu_s(), load_.sent
    time.sleep(LIVE_S)
    cpu = sum(psutil.Process(worker.process.pid).cpu_times()[:2]) - cpu
    broker, sent = stage.cpu_s() - broker, load_.sent - sent
    load_.finish()
    settle(load_, watch)
    worker.kill()
    watch.finish()
    waits = sorted(watch.seen[key] - at for key, at in load_.asked.items() if key in watch.seen)
    print(f"  {form}: {len(waits)} of {len(load_.asked)} surveys answered", flush=True)
    return {
        "worker": cpu / sent * 1e6,
        "broker": broker / sent * 1e6,
        **{f"p{share}": waits[len(waits) * share // 100] * 1e3 for share in (50, 95, 99)},
    }


def settle(load_: Live, watch: Watch, within: float = 90.0) -> float:
    """Wait until every survey has its signal. Returns how long the slowest had to wait, in seconds."""
    deadline = time.monotonic() + within
    while load_.asked.keys() - watch.seen.keys() and time.monotonic() < deadline:
        time.sleep(0.05)
    return max((watch.seen.get(key, time.monotonic()) - at for key, at in load_.asked.items()), default=0.0)


def takeover(stage: Stage, form: str) -> tuple[float, float, Outcome]:
    """A worker is killed between its effects and the end of its batch; another one, imports done, is told at once.

    Returns seconds from the death to the successor's readiness, and to the first signal that a reader saw.
    """
    app_id = stage.fresh()
    send(stage.bootstrap, history(20_000))
    watch = Watch(stage.bootstrap, isolation_of(form))
    standby = Worker(form, app_id, stage.bootstrap, "--standby")
    standby.said("standby")
    worker = Worker(form, app_id, stage.bootstrap, fail="signals-acknowledged:60:kill")
    worker.said("ready")
    load_ = Live(stage.bootstrap)
    assert worker.process.wait(120) == -signal.SIGKILL
    died = time.monotonic()
    standby.go()
    standby.said("ready")
    ready = time.monotonic() - died
    asked = {key for key, at in load_.asked.items() if at > died}
    while not asked & watch.seen.keys() and time.monotonic() < died + 90:
        asked |= {key for key, at in list(load_.asked.items()) if at > died}
        time.sleep(0.01)
    first = min((watch.seen[key] for key in asked & watch.seen.keys()), default=died + 90) - died
    load_.finish()
    settle(load_, watch)
    asyncio.run(finished(stage.bootstrap, app_id, isolation_of(form)))
    standby.kill()
    watch.finish()
    asyncio.run(aborted(stage, form, app_id))
    return ready, first, asyncio.run(outcome(stage.bootstrap, app_id, isolation_of(form)))


async def aborted(stage: Stage, form: str, app_id: str) -> None:
    """Say what a reader sees that does not set read_committed, once nothing is open any more."""
    if form == "transactions":
        await quiet(stage.bootstrap, app_id)
        careless = await outcome(stage.bootstrap, app_id, "read_uncommitted")
        print(
            f"  a reader without read_committed: {careless.repeats} repeats, {careless.orphans} of no truth", flush=True
        )


async def quiet(bootstrap: str, app_id: str, within: float = 60.0) -> None:
    """Wait until no transaction is open on the topics: the last stable offset is the end."""
    names = [RISK_TOPIC, OPPORTUNITY_TOPIC, f"{app_id}-state-changelog"]
    ends = await end_offsets(bootstrap, names)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    try:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            stable = await consumer.end_offsets(list(ends))
            if all(stable[place] >= end for place, end in ends.items()):  # above: the markers that ended it
                return
            await asyncio.sleep(0.2)
    finally:
        await consumer.stop()


def zombie(stage: Stage, form: str) -> tuple[str, Outcome]:
    """A worker stops before it writes, another one takes over and writes, the first goes on. What it may still do."""
    app_id = stage.fresh()
    send(stage.bootstrap, history(20_000))
    watch = Watch(stage.bootstrap, isolation_of(form))
    worker = Worker(form, app_id, stage.bootstrap, fail="before-dead-letters:3:stop")
    stopped(worker)
    successor = Worker(form, app_id, stage.bootstrap)
    ask(stage, watch, "later", successor)
    worker.process.send_signal(signal.SIGCONT)
    try:
        code = worker.process.wait(60)
        end = "fenced" if code == FENCED else f"ended with {code}"
    except subprocess.TimeoutExpired:
        end = "goes on"
    if ask(stage, watch, "last", successor):
        end += ", its successor starts again"
    asyncio.run(finished(stage.bootstrap, app_id, isolation_of(form)))
    watch.finish()
    for each in Worker.running:
        each.kill()
    asyncio.run(quiet(stage.bootstrap, app_id))
    return end, asyncio.run(outcome(stage.bootstrap, app_id, isolation_of(form)))


def stopped(worker: Worker) -> None:
    """Wait until a worker has stopped itself."""
    process = psutil.Process(worker.process.pid)
    while process.status() != psutil.STATUS_STOPPED:
        assert worker.process.poll() is None, list(worker.lines.queue)
        time.sleep(0.05)


def ask(stage: Stage, watch: Watch, name: str, worker: Worker, within: float = 180.0) -> int:
    """Send a survey to each of 100 accounts and wait for their signals; a worker that ends is started again.

    Returns how often it was.
    """
    keys = {f"{name}-{n}".encode() for n in range(100)}
    send(stage.bootstrap, (survey(key.decode(), START + dt.timedelta(days=DAYS)) for key in sorted(keys)))
    deadline, again = time.monotonic() + within, 0
    while keys - watch.seen.keys() and time.monotonic() < deadline:
        if worker.process.poll() is not None:
            again += 1
            worker = Worker(worker.form, worker.app_id, stage.bootstrap)
        time.sleep(0.1)
    return again


def hanging(stage: Stage) -> float:
    """A worker dies in mid transaction and nobody takes over. How long readers of committed records see nothing new."""
    app_id = stage.fresh()
    send(stage.bootstrap, history(20_000))
    worker = Worker(
        "transactions", app_id, stage.bootstrap, fail="signals-acknowledged:5:kill", timeout_ms=SHORT_TIMEOUT_MS
    )
    assert worker.process.wait(120) == -signal.SIGKILL
    died = time.monotonic()
    asyncio.run(quiet(stage.bootstrap, app_id, within=120))
    return time.monotonic() - died


def overslept(stage: Stage) -> tuple[str, Outcome]:
    """A worker is paused in mid transaction beyond the transaction's timeout, and nobody takes over. What it does then."""
    app_id = stage.fresh()
    send(stage.bootstrap, history(20_000))
    watch = Watch(stage.bootstrap)
    fail = "signals-acknowledged:3:stop"
    worker = Worker("transactions", app_id, stage.bootstrap, fail=fail, timeout_ms=SHORT_TIMEOUT_MS)
    stopped(worker)
    asyncio.run(quiet(stage.bootstrap, app_id))
    worker.process.send_signal(signal.SIGCONT)
    try:
        code = worker.process.wait(60)
        end = "is fenced" if code == FENCED else f"ended with {code}"
    except subprocess.TimeoutExpired:
        end = "stands still"
        worker.kill()
    ask(stage, watch, "last", Worker("transactions", app_id, stage.bootstrap))
    asyncio.run(finished(stage.bootstrap, app_id, "read_committed"))
    watch.finish()
    for each in Worker.running:
        each.kill()
    asyncio.run(quiet(stage.bootstrap, app_id))
    return end, asyncio.run(outcome(stage.bootstrap, app_id, "read_committed"))


def broker_dies(stage: Stage, form: str, broker: LocalKafka, fresh: Any) -> tuple[float, str, Outcome]:
    """The broker is killed under load and started again. Seconds until signals flow, and what became of the worker."""
    app_id = fresh()
    watch = Watch(stage.bootstrap, isolation_of(form))
    worker = Worker(form, app_id, stage.bootstrap)
    worker.said("ready")
    load_ = Live(stage.bootstrap)
    time.sleep(3)
    broker.kill()
    killed = time.monotonic()
    time.sleep(1)
    broker.start()
    end, restarts = "went on", 0
    while True:
        if worker.process.poll() is not None:
            restarts += 1
            end = f"ended with {worker.process.returncode}, started again {restarts} times"
            worker = Worker(form, app_id, stage.bootstrap)
        new = [at for key, at in list(watch.seen.items()) if load_.asked.get(key, 0.0) > killed]
        if new or time.monotonic() > killed + 120:
            break
        time.sleep(0.1)
    gone = (min(new) if new else time.monotonic()) - killed
    time.sleep(2)
    load_.finish()
    settle(load_, watch)
    asyncio.run(finished(stage.bootstrap, app_id, isolation_of(form)))
    worker.kill()
    watch.finish()
    asyncio.run(quiet(stage.bootstrap, app_id, within=60))
    return gone, end, asyncio.run(outcome(stage.bootstrap, app_id, isolation_of(form)))


@contextlib.contextmanager
def one_broker() -> Iterator[tuple[Stage, LocalKafka]]:
    """A broker of this benchmark's own."""
    folder = Path(tempfile.mkdtemp(prefix="ebbtide-transactions-"))
    broker = LocalKafka(
        folder, *free_ports(2), settings={"transaction.abort.timed.out.transaction.cleanup.interval.ms": 10_000}
    )
    try:
        started = broker.start()
        broker.wait_ready()
        yield Stage(broker.bootstrap, broker.delete_all_topics, [started.pid]), broker
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


def coordinator_moves() -> None:
    """Three brokers; the one that leads the transactional ids' own topic is killed under load, and stays away."""
    folder = Path(tempfile.mkdtemp(prefix="ebbtide-transactions-"))
    cluster = Cluster(folder)
    try:
        cluster.start()
        first = cluster.brokers[1]
        stage = Stage(cluster.bootstrap, first.delete_all_topics, [])
        for form in FORMS:
            app_id = stage.fresh(replication=3)
            watch = Watch(stage.bootstrap, isolation_of(form))
            worker = Worker(form, app_id, stage.bootstrap)
            worker.said("ready")
            load_ = Live(stage.bootstrap)
            time.sleep(4)
            node = asyncio.run(coordinator(stage.bootstrap, f"{app_id}-0"))
            cluster.brokers[node].kill()
            killed = time.monotonic()
            time.sleep(15)
            worst = max(
                (watch.seen.get(k, time.monotonic()) - at for k, at in list(load_.asked.items()) if at < killed + 10)
            )
            code = worker.process.poll()
            restarted = ""
            if code is not None:
                restarted = f", ended with {code} and was started again"
                worker = Worker(form, app_id, stage.bootstrap)
                worker.said("ready")
            load_.finish()
            settle(load_, watch)
            asyncio.run(finished(stage.bootstrap, app_id, isolation_of(form)))
            worker.kill()
            watch.finish()
            cluster.brokers[node].start()
            cluster.brokers[node].wait_ready()
            time.sleep(3)
            asyncio.run(quiet(stage.bootstrap, app_id))
            result = asyncio.run(outcome(stage.bootstrap, app_id, isolation_of(form)))
            print(f"coordinator killed, {form}: slowest signal {worst:.1f} s{restarted}; {result.verdict}", flush=True)
    finally:
        cluster.kill()
        shutil.rmtree(folder, ignore_errors=True)


async def coordinator(bootstrap: str, transactional_id: str) -> int:
    """The node that coordinates this transactional id."""
    from aiokafka.client import AIOKafkaClient, CoordinationType

    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        while True:
            try:
                return int(await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id))
            except KafkaError:  # the topic of transactions is made when it is first asked for
                await asyncio.sleep(0.5)
    finally:
        await client.close()


def main() -> None:
    """Run all scenes and print their figures."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        scenes()
    finally:
        for worker in Worker.running:
            worker.kill()


def scenes() -> None:
    """Those that were asked for."""
    with one_broker() as (stage, broker):
        if "cost" in SCENES:
            costs(stage)
        if "live" in SCENES:
            rows = {form: live(stage, form) for form in FORMS}
            show(f"live, {LIVE_RATE} events a second", ("worker", "broker", "p50", "p95", "p99"), rows)
        for form in FORMS if "takeover" in SCENES else ():
            ready, first, result = takeover(stage, form)
            told(f"kill -9 in mid batch, {form}: ready after {ready:.2f} s, first signal {first:.2f} s", result)
        for form in FORMS if "zombie" in SCENES else ():
            end, result = zombie(stage, form)
            told(f"paused worker wakes up, {form}: {end}", result)
        if "hanging" in SCENES:
            gone = hanging(stage)
            print(f"dead in mid transaction, timeout {SHORT_TIMEOUT_MS / 1000:.0f} s, nobody takes over: "
                  f"readers stand still for {gone:.1f} s", flush=True)  # fmt: skip
        if "overslept" in SCENES:
            end, result = overslept(stage)
            told(f"paused in mid transaction beyond its timeout: the worker {end}", result)
        for form in FORMS if "broker" in SCENES else ():
            gone, end, result = broker_dies(stage, form, broker, stage.fresh)
            told(f"broker killed, {form}: signals again after {gone:.1f} s, the worker {end}", result)
    if "coordinator" in SCENES:
        coordinator_moves()


def costs(stage: Stage) -> None:
    """Both forms over a backlog, twice, in turn."""
    for form in FORMS:
        cost(stage, form, min(EVENTS, 20_000))  # the broker's compiler and caches
    rounds = [{form: cost(stage, form, EVENTS) for form in order} for order in (FORMS, FORMS[::-1])]
    rows = {
        form: {name: (max if name == "rate" else min)(each[form][name] for each in rounds) for name in rounds[0][form]}
        for form in FORMS
    }
    show(f"backlog of {EVENTS} events, least CPU of two rounds", ("core", "shell", "broker", "rate", "gaps"), rows)


def told(what: str, result: Outcome) -> None:
    """One line of a scene."""
    print(f"{what}; {result.verdict}", flush=True)


def show(title: str, columns: tuple[str, ...], rows: dict[str, dict[str, float]]) -> None:
    """A table with the ratio of the forms. Core, shell (together: worker) and broker are CPU µs an event, p50 to p99 are ms."""
    print(title)
    print(f"{'':14}" + "".join(f"{name:>10}" for name in columns))
    for form, row in rows.items():
        print(f"{form:14}" + "".join(f"{row[name]:10,.1f}" for name in columns))
    ratios = [rows["transactions"][name] / rows["fence"][name] if rows["fence"][name] else 0.0 for name in columns]
    print(f"{'ratio':14}" + "".join(f"{ratio:10.2f}" for ratio in ratios), flush=True)


if __name__ == "__main__":
    main()
