"""Real processes for a benchmark: a broker, a database, workers of the product; what they cost; and their end.

Everything lives in one folder and on free ports. Whatever happens, what was started is stopped.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import Consumer, Producer, TopicPartition

from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from schemas.events import INPUT_TOPICS
from services.common import db, topics
from services.common.kafka import partition_of
from tests.bench.workload import Record
from tests.conftest import clean_environment
from tests.harness import READY_PORTS, ROOT, Service, free_ports, http_status, start_service, wait_for

SERVICE_PORTS = (*READY_PORTS.values(), "EBBTIDE_METRICS_PORT_INGEST", "EBBTIDE_METRICS_PORT_API")
SAMPLE = re.compile(r"^(ebbtide_\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass
class Cost:
    """What a process had used at an instant: wall clock, CPU (user and system, all threads), resident memory."""

    at: float
    cpu_s: float
    resident: int


class Stage:
    """A broker, and whatever is started beside it. A context manager: leaving it stops everything.

    With `keep` the folder stays, with the broker's data; without, all is in a folder of its own that is deleted.
    """

    def __init__(self, *, keep: Path | None = None, partitions: int = 4) -> None:
        self.partitions = partitions
        self.folder = Path(tempfile.mkdtemp(prefix="ebbtide-bench-")) if keep is None else keep.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._delete = keep is None
        self._stack = ExitStack()
        self.kafka: LocalKafka
        self.database: str | None = None
        self._postgres: LocalPostgres | None = None

    def __enter__(self) -> Self:
        if self._delete:
            self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        port, controller = free_ports(2)
        self.kafka = LocalKafka(self.folder / "kafka", port, controller)
        self._stack.callback(self.kafka.stop if not self._delete else self.kafka.kill)
        self.kafka.start()
        self.kafka.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # -- what is started ------------------------------------------------------------------------------------------

    def fresh_database(self) -> None:
        """A new database with all tables, for the processes started from now on; durable, as in production."""
        if self._postgres is None:
            (port,) = free_ports(1)
            self._postgres = LocalPostgres(self.folder / "postgres", port)
            self._stack.callback(self._postgres.kill)
            self._postgres.start()
            self._postgres.wait_ready()
        name = f"bench_{uuid.uuid4().hex[:8]}"
        self._postgres.create_database(name)
        self.database = self._postgres.url(name)
        asyncio.run(db.upgrade(self.database))

    def environment(self, app_id: str, **settings: object) -> dict[str, str]:
        """Environment of a process of the product: free ports, this broker, ticks off unless `settings` say otherwise."""
        ports = dict(zip(SERVICE_PORTS, map(str, free_ports(len(SERVICE_PORTS))), strict=True))
        return (
            clean_environment()
            | ports
            | {
                "EBBTIDE_DATA_DIR": str(self.folder / "data"),
                "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap,
                "EBBTIDE_TOPIC_PARTITIONS": str(self.partitions),
                "EBBTIDE_ENGINE_APP_ID": app_id,
                "EBBTIDE_TICKS": "off",
                "PYTHONUNBUFFERED": "1",
            }
            | ({} if self.database is None else {"EBBTIDE_DATABASE_URL": self.database})
            | {f"EBBTIDE_{name.upper()}": str(value) for name, value in settings.items()}
        )

    @contextmanager
    def service(
        self, name: str, env: dict[str, str], *, ready: bool = True, log: str | None = None, sampled: Path | None = None
    ) -> Iterator[Running]:
        """A process of the product until the end of the block. `sampled` is where a profile of it is written."""
        label = log or name
        started = (
            _start_sampled(name, env, sampled, label)
            if sampled is not None
            else start_service(name, env, ready=False, log_name=label)
        )
        running = Running(started, f"http://127.0.0.1:{env[f'EBBTIDE_METRICS_PORT_{name.upper()}']}")
        try:
            if ready:
                running.wait_ready()
            yield running
        finally:
            if started.process.poll() is None:
                started.process.terminate()
                try:
                    started.process.wait(20)
                except subprocess.TimeoutExpired:
                    started.kill()

    # -- topics ---------------------------------------------------------------------------------------------------

    def topics(self, app_id: str) -> None:
        """Make the project's topics, and the changelog of `app_id`."""
        bootstrap = self.kafka.bootstrap
        report = asyncio.run(topics.apply(bootstrap, partitions=self.partitions, replication=1, app_id=app_id))
        if report.refused or report.differences:
            raise RuntimeError(f"the broker's topics cannot be used: {report.refused or report.differences}")

    def new_app(self) -> str:
        """An app id that nothing was read under, with its topics."""
        app_id = f"bench-{uuid.uuid4().hex[:8]}"
        self.topics(app_id)
        return app_id

    def delete_topics(self, names: Iterable[str]) -> None:
        """Delete topics, and return once they are gone."""
        asyncio.run(_delete_topics(self.kafka.bootstrap, set(names)))

    def fill(self, records: Iterable[Record], topic: str | None = None, *, most: int | None = None) -> int:
        """Append `records` (at most `most`) in order, to `topic` where given. Returns how many were acknowledged,
        a broadcast counted once."""
        producer = Producer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "enable.idempotence": True,
                "linger.ms": 50,
                "batch.size": 900_000,
                "queue.buffering.max.messages": 200_000,
                "log_level": 3,  # a broker that just started refuses the first request for an id, and is asked again
            }
        )
        count = 0
        for record in records:
            if most is not None and count >= most:
                break
            where = topic or record.topic
            numbers: Iterable[int] = (
                range(self.partitions) if record.key is None else (partition_of(record.key, self.partitions),)
            )
            for number in numbers:
                while True:
                    try:
                        producer.produce(where, record.value, record.key, partition=number)
                        break
                    except BufferError:
                        producer.poll(0.1)
            count += 1
            if not count % 1000:
                producer.poll(0)
        if left := producer.flush(120):
            raise RuntimeError(f"{left} records were not acknowledged within 120 s")
        return count

    def ends(self, topic: str) -> dict[int, int]:
        """The next offset of each partition of a topic; empty where there is no such topic."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": "bench"})
        try:
            found = consumer.list_topics(timeout=20).topics.get(topic)
            numbers = () if found is None else found.partitions
            return {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=20)[1] for n in numbers}
        finally:
            consumer.close()

    def records(self, topic: str, since: dict[int, int]) -> list[tuple[bytes | None, bytes | None, float]]:
        """Keys, values and Unix times of a topic's records from the offsets `since` to its end."""
        ends = self.ends(topic)
        consumer = Consumer(
            {"bootstrap.servers": self.kafka.bootstrap, "group.id": "bench", "enable.partition.eof": True}
        )
        found: list[tuple[bytes | None, bytes | None, float]] = []
        try:
            consumer.assign([TopicPartition(topic, n, since.get(n, 0)) for n in ends])
            open_ = {n for n, end in ends.items() if since.get(n, 0) < end}
            while open_:
                for message in consumer.consume(10_000, timeout=1.0):
                    number, offset = message.partition(), message.offset()
                    assert number is not None
                    if message.error() is None:
                        found.append((message.key(), message.value(), message.timestamp()[1] / 1000))
                    if message.error() is not None or (offset is not None and offset + 1 >= ends[number]):
                        open_.discard(number)
            return found
        finally:
            consumer.close()

    def bytes_of(self, topic: str) -> int:
        """Bytes of a topic's segments on the broker's disk, of all partitions."""
        data = self.kafka.folder / "data"
        return sum(
            segment.stat().st_size
            for number in range(self.partitions)
            for segment in (data / f"{topic}-{number}").glob("*.log")
        )

    def broker_cost(self) -> Cost:
        """What the broker has used so far."""
        assert self.kafka.process is not None
        return cost(self.kafka.process.pid)


@dataclass
class Running:
    """A process of the product that runs."""

    service: Service
    metrics_url: str
    peak: int = field(default=0, init=False)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.service.process.pid

    def wait_ready(self, within: float = 120.0) -> None:
        """Return once /readyz says yes."""

        def is_ready() -> bool:
            self.check()
            return http_status(f"{self.service.url}/readyz") == 200

        wait_for(f"{self.service.name} ready", is_ready, within=within)

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.service.process.poll() is None

    def check(self) -> None:
        """RuntimeError with the end of its log when it has ended."""
        code = self.service.process.poll()
        if code is not None:
            raise RuntimeError(f"{self.service.name} ended with code {code}:\n{self.service.tail()}")

    def cost(self) -> Cost:
        """What it has used so far; the greatest resident memory seen is kept in `peak`."""
        now = cost(self.pid)
        self.peak = max(self.peak, now.resident)
        return now

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Its metrics now: (name, label values in order of their names), empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.metrics_url}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        return {
            (name, *(value for _, value in sorted(_LABEL.findall(labels)))): float(number)
            for name, labels, number in SAMPLE.findall(text)
        }


def outcomes(metrics: dict[tuple[str, ...], float]) -> dict[str, int]:
    """The engine's records by what became of them, over all topics."""
    found: dict[str, int] = {}
    for labels, value in metrics.items():
        if labels[0] == "ebbtide_engine_records_total":
            found[labels[1]] = found.get(labels[1], 0) + int(value)
    return found


def cost(pid: int) -> Cost:
    """What a process has used so far, without its children."""
    process = psutil.Process(pid)
    with process.oneshot():
        times = process.cpu_times()
        return Cost(time.monotonic(), times.user + times.system, process.memory_info().rss)


def until(what: str, probe: Callable[[], bool], running: Iterable[Running], *, within: float, every: float) -> None:
    """Return once `probe` holds, looking every `every` seconds. RuntimeError when a process ends or time is up."""
    deadline = time.monotonic() + within
    while not probe():
        for one in running:
            one.check()
        if time.monotonic() > deadline:
            tails = "\n".join(one.service.tail() for one in running)
            raise RuntimeError(f"not within {within:.0f} s: {what}\n{tails}")
        time.sleep(every)


def _start_sampled(name: str, env: dict[str, str], profile: Path, label: str) -> Service:
    log = Path(env["EBBTIDE_DATA_DIR"]) / "logs" / f"{label}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.sampled", str(profile), "serve", name],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Service(name, f"http://127.0.0.1:{env[READY_PORTS[name]]}", log, process)


async def _delete_topics(bootstrap: str, names: set[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        while there := names & set(await admin.list_topics()):
            await admin.delete_topics(list(there))
            await asyncio.sleep(0.1)
    finally:
        await admin.close()


__all__ = ["INPUT_TOPICS", "Cost", "Running", "Stage", "cost", "outcomes", "until"]
