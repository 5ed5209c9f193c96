"""What the runtime's tests on a real broker share: topics of their own, load, workers as processes, and the truth."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from schemas.events import INPUT_TOPICS
from schemas.signals import RISK_TOPIC
from services.common.kafka import partition_of
from tests.conftest import clean_environment
from tests.faults import double
from tests.harness import ROOT, free_ports, http_status, wait_for

PARTITIONS = 4
DAY = 86_400
T0 = 1_700_006_400  # a midnight UTC

_DATA: dict[str, tuple[str, dict[str, Any]]] = {
    "usage": ("usage.logged_in", {"user": "u1"}),
    "tickets": ("ticket.resolved", {"ticket_id": "t1"}),
    "invoices": ("invoice.voided", {"invoice_id": "i1"}),
    "accounts": ("account.milestone_done", {"milestone": "m1"}),
    "engagement": ("training.attended", {}),
}


class Message(NamedTuple):
    """One record to produce: `key` None goes to every partition."""

    topic: str
    key: str | None
    value: bytes
    sequence: int | None = None


def instant(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()


def event(topic: str, account: str, event_id: str, at: float) -> bytes:
    name, data = _DATA[topic]
    envelope = {"specversion": "1.0", "id": event_id, "source": "test", "type": name, "subject": account}
    return json.dumps(envelope | {"time": instant(at), "data": data}).encode()


def tick(now: float, *, historical: bool) -> bytes:
    envelope = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "test", "type": "clock.tick"}
    data = {"now": instant(now), "historical": historical}
    return json.dumps(envelope | {"time": instant(now), "data": data}).encode()


class Replay:
    """A recording being sent in a thread of its own."""

    def __init__(self, bootstrap: str, recording: Recording, *, rate: float) -> None:
        self._thread = threading.Thread(target=send, args=(bootstrap, recording.messages()), kwargs={"rate": rate})
        self._thread.start()

    def join(self) -> None:
        """Wait until all of it was acknowledged."""
        self._thread.join()


class Recording(NamedTuple):
    """A file to replay: in order, (topic, account, event id, time)."""

    events: list[tuple[str, str, str, float]]

    @classmethod
    def make(cls, count: int, *, days: int = 30, accounts: int = 60, seed: int = 1) -> Recording:
        chance = random.Random(seed)
        times = sorted(round(T0 + 60 + chance.random() * days * DAY, 3) for _ in range(count))
        topics = chance.choices(INPUT_TOPICS, (20, 2, 1, 1, 1), k=count)
        return cls(
            [
                (topic, f"account-{chance.randrange(accounts)}", f"{chance.getrandbits(64):016x}", at)
                for topic, at in zip(topics, times, strict=True)
            ]
        )

    def messages(self) -> Iterator[Message]:
        """As a replay sends them: midnights before the events that follow them, live ticks at the end."""
        sequence = 0
        day = None
        for topic, account, event_id, at in self.events:
            if day != at // DAY:
                day = at // DAY
                for each in INPUT_TOPICS:
                    yield Message(each, None, tick(day * DAY, historical=True), sequence)
                sequence += 1
            yield Message(topic, account, event(topic, account, event_id, at), sequence)
            sequence += 1
        end = self.events[-1][3] + 1
        for each in INPUT_TOPICS:
            yield Message(each, None, tick(end, historical=False))

    def truth(self) -> tuple[dict[str, double.Account], dict[str, str]]:
        """Accounts and transitions of an undisturbed run in the order of the file."""
        accounts: dict[str, double.Account] = {}
        transitions: dict[str, str] = {}
        for _, account, event_id, at in self.events:
            state = accounts.setdefault(account, double.Account())
            state.add(event_id, int(at // DAY * DAY * 1_000_000))
            if state.count % double.EVERY == 0:
                transitions[f"{account}:{state.count}"] = state.ordered.hex()
        return accounts, transitions


def send(bootstrap: str, messages: Iterable[Message], *, rate: float | None = None, compression: str = "none") -> int:
    """Produce in order, at most `rate` a second; returns how many keyed records were acknowledged."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 5,
            "enable.idempotence": True,
            "compression.type": compression,
        }
    )
    started, sent = time.monotonic(), 0
    for message in messages:
        headers = None if message.sequence is None else [("sequence", b"%d" % message.sequence)]
        numbers = range(PARTITIONS) if message.key is None else [partition_of(message.key.encode(), PARTITIONS)]
        for number in numbers:
            while True:
                try:
                    producer.produce(message.topic, message.value, message.key, partition=number, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.1)
        sent += message.key is not None
        producer.poll(0)
        if rate is not None and not sent % 20:
            time.sleep(max(0.0, started + sent / rate - time.monotonic()))
    assert producer.flush(60) == 0
    return sent


class Load:
    """Live events at a steady rate in a thread of its own, until `finish`."""

    def __init__(self, bootstrap: str, *, rate: float, accounts: int = 60, seed: int = 7) -> None:
        self._accounts = accounts
        self._chance = random.Random(seed)
        self._enough = threading.Event()
        self._sent = 0

        def run() -> None:
            self._sent = send(bootstrap, self._messages(), rate=rate)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def _messages(self) -> Iterator[Message]:
        while not self._enough.is_set():
            topic = self._chance.choices(INPUT_TOPICS, (20, 2, 1, 1, 1))[0]
            account = f"account-{self._chance.randrange(self._accounts)}"
            yield Message(topic, account, event(topic, account, f"{self._chance.getrandbits(64):016x}", time.time()))

    def finish(self) -> int:
        """Stop, flush, and say how many records were acknowledged."""
        self._enough.set()
        self._thread.join()
        return self._sent


@dataclass
class Group:
    """Engine workers over the double, as processes."""

    bootstrap: str
    folder: Path
    app_id: str
    extra: dict[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    """Goes before the command of workers that are started."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)

    def start(self, name: str, *, ready: bool = True, **extra: str) -> None:
        """Start a worker; with `ready`, wait until it says so."""
        (port,) = free_ports(1)
        env = clean_environment() | {
            "EBBTIDE_DATA_DIR": str(self.folder),
            "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "EBBTIDE_METRICS_PORT_ENGINE": str(port),
            "EBBTIDE_ENGINE_APP_ID": self.app_id,
            "EBBTIDE_ENGINE_SESSION_TIMEOUT_S": "6",
            "EBBTIDE_TICKS": "off",
            "PYTHONUNBUFFERED": "1",
        }
        log = (self.folder / f"{name}.log").open("ab")
        with log:
            self.processes[name] = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "tests.faults.double"],
                cwd=ROOT,
                env=env | self.extra | extra,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.urls[name] = f"http://127.0.0.1:{port}"
        if ready:
            self.ready(name)

    def ready(self, name: str, within: float = 90.0) -> None:
        """Wait until the worker is ready."""

        def is_ready() -> bool:
            assert self.processes[name].poll() is None, self.log(name)
            return http_status(f"{self.urls[name]}/readyz") == 200

        wait_for(f"worker {name} ready", is_ready, within=within)

    def progress(self, within: float = 60.0) -> float:
        """Return once what was on the input topics at the call is applied and committed; the seconds that took."""
        started = time.monotonic()
        try:
            wanted = wait_for("the brokers answer", lambda: answered(lambda: ends(self.bootstrap)), within=within)
            wait_for(
                "what was sent is applied",
                lambda: answered(lambda: reached(self.bootstrap, self.app_id, wanted)),
                within=within,
                every=0.2,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None
        return time.monotonic() - started

    def kill(self, name: str) -> None:
        """As a power cut would."""
        self.processes[name].kill()
        self.processes[name].wait()

    def terminate(self, name: str, within: float = 10.0) -> float:
        """SIGTERM; returns how long it took to go. AssertionError when it failed or did not go."""
        started = time.monotonic()
        self.processes[name].send_signal(signal.SIGTERM)
        code = self.processes[name].wait(within)
        assert code == 0, f"exit code {code}\n{self.log(name)}"
        return time.monotonic() - started

    def log(self, name: str) -> str:
        """The end of a worker's log."""
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-30:])

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {name}\n{self.log(name)}" for name in self.processes)

    def end(self) -> None:
        """Leave no process behind."""
        for process in self.processes.values():
            process.kill()
            process.wait()


def read(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> list[Any]:
    """Every record of a topic as it stands now, by partition and offset."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "enable.auto.commit": False,
            # The next partition is not read before the broker has answered the last, empty fetch of this one.
            "fetch.wait.max.ms": 10,
            # A log may end in a transaction's mark, which is never handed over.
            "enable.partition.eof": True,
        }
    )
    try:
        found: list[Any] = []
        for number in range(partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            if high <= low:
                continue
            consumer.assign([TopicPartition(topic, number, low)])
            position = low
            while position < high:
                for message in consumer.consume(min(10_000, high - position), timeout=1.0):
                    problem = message.error()
                    if problem is not None:
                        assert problem.code() == KafkaError._PARTITION_EOF, problem
                        position = high
                        break
                    found.append(message)
                    position = message.offset() + 1
        return found
    finally:
        consumer.close()


def committed(bootstrap: str, app_id: str) -> int:
    """Records of the input topics past the group's committed offsets."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": app_id})
    try:
        wanted = [TopicPartition(topic, number) for topic in INPUT_TOPICS for number in range(PARTITIONS)]
        return sum(
            consumer.get_watermark_offsets(place, timeout=10)[1] - max(0, place.offset)
            for place in consumer.committed(wanted, timeout=10)
        )
    finally:
        consumer.close()


def answered[T](ask: Callable[[], T]) -> T | None:
    """What is answered, None while no leader is there to answer."""
    try:
        return ask()
    except KafkaException:
        return None


def ends(bootstrap: str) -> dict[tuple[str, int], int]:
    """The next offset of every input topic-partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex})
    try:
        return {
            (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=3)[1]
            for topic in INPUT_TOPICS
            for number in range(PARTITIONS)
        }
    finally:
        consumer.close()


def reached(bootstrap: str, app_id: str, wanted: Mapping[tuple[str, int], int]) -> bool:
    """Whether the group has committed every one of these offsets."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": app_id})
    try:
        places = [TopicPartition(topic, number) for (topic, number), end in wanted.items() if end]
        return all(at.offset >= wanted[at.topic, at.partition] for at in consumer.committed(places, timeout=3))
    finally:
        consumer.close()


def states(bootstrap: str, app_id: str) -> dict[str, double.Account]:
    """The accounts as the changelog has them. AssertionError when an account is in two partitions."""
    latest: dict[tuple[int, bytes], bytes] = {}
    newest: dict[int, int] = {}
    for message in read(bootstrap, f"{app_id}-state-changelog"):
        number = message.partition()
        said = dict(message.headers() or ()).get("epoch")
        epoch = double.epoch_of(message.value()) if said is None else int(said)
        if epoch >= newest.get(number, 0):  # else a worker wrote it that had lost the partition
            newest[number] = epoch
            latest[number, message.key()] = message.value()
    accounts: dict[str, double.Account] = {}
    for (_, key), value in latest.items():
        if key != double.OWN and value is not None:
            assert key.decode() not in accounts
            accounts[key.decode()] = double.decode_account(value)
    return accounts


def transitions(bootstrap: str) -> dict[str, set[str]]:
    """Values seen on the signal topic, by transition id."""
    found: dict[str, set[str]] = {}
    for message in read(bootstrap, RISK_TOPIC):
        name, value = message.value().decode().split("=")
        found.setdefault(name, set()).add(value)
    return found


def inputs(bootstrap: str) -> dict[str, tuple[int, int]]:
    """Recomputed from the input topics alone: per account the number of events and the sum over their ids."""
    found: dict[str, tuple[int, int]] = {}
    for topic in INPUT_TOPICS:
        for message in read(bootstrap, topic):
            if message.key() is not None and message.value().startswith(b'{"'):
                event_id = json.loads(message.value())["id"]
                digest = int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=8).digest(), "little")
                count, total = found.get(message.key().decode(), (0, 0))
                found[message.key().decode()] = (count + 1, (total + digest) % (1 << 64))
    return found
