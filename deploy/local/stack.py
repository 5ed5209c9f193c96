"""The whole product on one machine: Kafka, PostgreSQL and the services as child processes of one supervisor.

The supervisor holds a lock for as long as it lives, which the system releases however it ends; every child leaves a
record of who it is. So `down` and the next `up` can always tell what runs and end what a killed supervisor left behind.

What migrates and provisions is imported when it is used: `status` and `down` answer at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from aiokafka.errors import KafkaError

from deploy.local import jars, process
from deploy.local.kafka import LocalKafka, answers
from deploy.local.ports import owner
from deploy.local.postgres import LocalPostgres
from deploy.local.process import ServerError
from services.common.addresses import base_urls, listeners, variable
from services.common.settings import Settings

if TYPE_CHECKING:
    from services.common.topics import Report

# They start together: each waits by itself for what it needs.
SERVICES = ("engine", "recorder", "api", "ingest", "delivery")
READY_WITHIN_S = 90.0
GIVEN_SERVER_WITHIN_S = 10.0
STOP_PATIENCE_S = 15.0
KAFKA_STOP_PATIENCE_S = 30.0
# More than the supervisor needs when every child has to be killed.
SUPERVISOR_STOP_PATIENCE_S = 90.0
# A child that lived this long is well again: its next restart is quick.
WELL_AFTER_S = 60.0
LONGEST_BACKOFF_S = 30.0

# The settings that say where a running stack is asked.
WHERE = (
    *("api_host", "api_port", "ingest_host", "ingest_port", "metrics_host"),
    *(field for field in Settings.model_fields if field.startswith("metrics_port_")),
    *("kafka_bootstrap_servers", "local_kafka_port", "local_kafka_controller_port", "local_postgres_port"),
)

Say = Callable[[str], None]


class StackError(Exception):
    """The stack cannot be started. The message says what to do."""


class AlreadyRunning(StackError):
    """A supervisor of this data folder is alive."""


class Stopped(Exception):
    """Somebody asked the stack to end while it was starting."""


@dataclass
class Child:
    """One supervised process: how it is started, and how it has fared."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restarts: int = 0
    backoff: float = 1.0
    restart_at: float | None = None


@dataclass(frozen=True)
class Part:
    """What is to be told of one part of the stack. `pid` is None when it is not a process of this stack."""

    name: str
    pid: int | None
    state: str
    where: str
    restarts: int


@dataclass(frozen=True)
class Status:
    """The stack as it is now. `phase` is stopped, starting, ready or stopping."""

    phase: str
    data_dir: str
    parts: list[Part] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether everything runs and answers."""
        return self.phase == "ready" and all(part.state == "ready" for part in self.parts)


def serve_command(name: str) -> list[str]:
    """The command that runs one service."""
    return [sys.executable, "-m", "services.cli.main", "serve", name]


class Stack:
    """The local stack of one data folder.

    `say` hears one line for each thing that happens. `command` gives the command of a service by its name;
    `environment` what it gets beside this process's own environment, asked at each of its starts.
    """

    def __init__(
        self,
        config: Settings,
        say: Say = lambda line: None,
        command: Callable[[str], list[str]] = serve_command,
        environment: Callable[[str], dict[str, str]] = lambda name: {},
    ) -> None:
        self.config = config
        self.folder = config.data_dir.resolve()
        self.logs = self.folder / "logs"
        self.stopping = threading.Event()
        self._records = self.folder / "run"
        self._state = self._records / "state"
        self._say = say
        self._command = command
        self._environment = environment
        self._kafka: LocalKafka | None = None
        self._postgres: LocalPostgres | None = None
        self._children: dict[str, Child] = {}
        if config.kafka_bootstrap_servers is None:
            self._kafka = LocalKafka(
                self.folder / "kafka",
                config.local_kafka_port,
                config.local_kafka_controller_port,
                log=self.logs / "kafka.log",
                record=self._record("kafka"),
                say=say,
                maven_url=config.maven_url,
            )
            self._children["kafka"] = Child("kafka", self._kafka.start, self._kafka.log)
        if config.database_url is None:
            self._postgres = LocalPostgres(
                self.folder / "postgres",
                config.local_postgres_port,
                log=self.logs / "postgres.log",
                record=self._record("postgres"),
            )
            self._children["postgres"] = Child("postgres", self._postgres.start, self._postgres.log)
        for name in SERVICES:
            self._children[name] = Child(name, self._starter(name), self.logs / f"{name}.log")

    # --- asking ----------------------------------------------------------------------------------------------------

    @property
    def supervisor(self) -> int | None:
        """Pid of the live supervisor of this data folder."""
        found = process.recorded(self._record("supervisor"))
        return found.pid if found else None

    def pids(self) -> set[int]:
        """Pids of every live process that this stack recorded, and of all below them."""
        found: set[int] = set()
        for record in self._records.glob("*.json"):
            live = process.recorded(record)
            if live is not None:
                found |= {live.pid, *(below.pid for below in live.children(recursive=True))}
        return found

    def status(self) -> Status:
        """What runs now and whether it answers."""
        state = self._read_state() if self.supervisor else {}
        started = self._as_started(state)
        if started != self.config:
            # Who asks may have other settings than the stack was started with: ask where it listens.
            return Stack(started).status()
        restarts = state.get("restarts", {})
        urls = base_urls(self.config)
        with ThreadPoolExecutor(8) as pool:
            kafka = pool.submit(_answers, answers(self.config.bootstrap))
            postgres = pool.submit(self._database_answers, state)
            services = {name: pool.submit(readiness, urls[name]) for name in SERVICES}
        known = {
            "kafka": (kafka.result(), self.config.bootstrap),
            "postgres": postgres.result(),
            **{name: (answer.result(), urls[name]) for name, answer in services.items()},
        }
        parts = []
        for name, (answer, where) in known.items():
            live = process.recorded(self._record(name))
            if live is None and name in self._children and not (name == "postgres" and state.get("database")):
                answer = "not running"
            parts.append(Part(name, live.pid if live else None, answer, where, restarts.get(name, 0)))
        return Status(state.get("phase", "stopped"), str(self.folder), parts)

    # --- up --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Everything ready inside the block; everything ended after it, however it is left.

        SIGINT, SIGTERM and SIGHUP set `stopping`; a second one ends everything at once. Raises AlreadyRunning, and
        StackError or ServerError when something cannot start, and Stopped when told to stop before all was ready.
        """
        self._records.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        with self._locked(), self._signals():
            self.end_leftovers()
            self.refuse_busy_ports()
            self._state.unlink(missing_ok=True)
            process.write_record(self._record("supervisor"), os.getpid(), [sys.executable])
            try:
                self._write_state("starting")
                asyncio.run(self._unless_stopped(self._start()))
                self._write_state("ready")
                yield
            finally:
                self.stopping.set()
                self._write_state("stopping")
                self._end_children()
                self._state.unlink(missing_ok=True)
                self._record("supervisor").unlink(missing_ok=True)

    def tend(self) -> None:
        """Start children that died again, with growing pauses, until `stopping` is set."""
        while not self.stopping.wait(0.25):
            for child in self._children.values():
                self._tend(child, time.monotonic())

    def refuse_busy_ports(self) -> None:
        """Raise StackError that names every taken port, who holds it, and the variable that moves it."""
        busy = []
        for listener in listeners(self.config):
            holder = owner(listener.host, listener.port)
            if holder is not None:
                busy.append(
                    f"port {listener.port} is taken by {holder}: end that, or set {variable(listener.field)} to a free port"
                )
        if busy:
            raise StackError("\n".join(busy))

    def end_leftovers(self) -> list[str]:
        """End every child that an earlier supervisor left behind. Returns their names. Call only without a supervisor."""
        names = {record.stem for record in self._records.glob("*.json")} - {"supervisor"}
        found = []
        for name in sorted(names, key=lambda name: (name == "postgres", name == "kafka", name)):
            ask = signal.SIGINT if name == "postgres" else signal.SIGTERM
            if process.end_recorded(self._record(name), ask=ask, patience=STOP_PATIENCE_S):
                found.append(name)
                self._say(f"ended {name}, left behind by an earlier run")
        return found

    # --- down ------------------------------------------------------------------------------------------------------

    def down(self) -> list[str]:
        """End the supervisor with everything it started, or what a killed one left. Returns the names of what ran."""
        supervisor = process.recorded(self._record("supervisor"))
        ran = []
        if supervisor is not None:
            ran = ["supervisor"]
            if not process.end(supervisor, patience=SUPERVISOR_STOP_PATIENCE_S, family=False):
                self._say("the supervisor did not end in time and was killed")
        ran += self.end_leftovers()
        self._record("supervisor").unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)
        return ran

    def is_ready(self, supervisor: int) -> bool:
        """Whether the supervisor with this pid has everything ready."""
        return self.supervisor == supervisor and self._read_state().get("phase") == "ready"

    # --- inside ----------------------------------------------------------------------------------------------------

    def _record(self, name: str) -> Path:
        return self._records / f"{name}.json"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._records / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise AlreadyRunning(
                    f"the stack in {self.folder} is already running: `ebbtide status` shows it, `ebbtide down` ends it"
                ) from None
            yield

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def told(number: int, frame: object) -> None:
            if self.stopping.is_set():
                for child in self._children.values():
                    if child.process is not None and child.process.poll() is None:
                        child.process.kill()
            self.stopping.set()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, told) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        while not (await asyncio.wait([task], timeout=0.1))[0]:
            if self.stopping.is_set():
                task.cancel()
                await asyncio.wait([task])
                raise Stopped
        task.result()

    async def _start(self) -> None:
        if self._kafka is not None:
            await asyncio.to_thread(jars.classpath, self._say, self.config.maven_url)
        servers = [child for child in self._children.values() if child.name not in SERVICES]
        await asyncio.gather(*(asyncio.to_thread(self._begin, server) for server in servers))
        # While the servers start, and not while something waits for an answer: importing holds the event loop up.
        from services.common import db, kafka, topics

        try:
            await asyncio.gather(self._broker(topics.apply), self._database(db.upgrade))
        except (db.DatabaseError, topics.TopicsRefused, kafka.BrokerUnreachable) as error:
            raise StackError(str(error)) from error
        for name in SERVICES:
            self._begin(self._children[name])
        await asyncio.gather(*(self._service(name) for name in SERVICES))

    async def _broker(self, apply: Callable[..., Awaitable[Report]]) -> None:
        since = time.monotonic()
        if self._kafka is not None:
            await self._kafka.ready()
        else:
            await self._given_broker()
        self._say(f"kafka ready at {self.config.bootstrap} ({time.monotonic() - since:.1f} s)")
        report = await apply(
            self.config.bootstrap,
            partitions=self.config.topic_partitions,
            replication=self.config.topic_replication,
            app_id=self.config.engine_app_id,
        )
        if report.refused:
            raise StackError(f"topics: {report.refused}")
        for difference in report.differences:
            self._say(f"topics: {difference}")
        made = sum(change.action == "create" for change in report.changes)
        self._say(f"topics ready ({f'{made} made' if made else 'all there'})")

    async def _given_broker(self) -> None:
        deadline = time.monotonic() + GIVEN_SERVER_WITHIN_S
        while True:
            try:
                await asyncio.wait_for(answers(self.config.bootstrap), 5)
                return
            except (KafkaError, OSError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise StackError(
                        f"no Kafka broker answers at {self.config.bootstrap} ({error!r}): start it, correct "
                        "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS, or unset it to use a local one"
                    ) from None
            await asyncio.sleep(0.5)

    async def _database(self, upgrade: Callable[..., Awaitable[tuple[str | None, str]]]) -> None:
        since = time.monotonic()
        if self._postgres is not None:
            await asyncio.to_thread(self._postgres.wait_ready)
        before, after = await upgrade(self.config.database, wait_s=GIVEN_SERVER_WITHIN_S)
        migrated = "" if before == after else f", migrated to {after}"
        self._say(f"postgres ready at {self._database_shown()} ({time.monotonic() - since:.1f} s{migrated})")

    async def _service(self, name: str) -> None:
        child, since = self._children[name], time.monotonic()
        url, answer = base_urls(self.config)[name], "not answering"
        while time.monotonic() - since < READY_WITHIN_S:
            if child.process is not None and child.process.poll() is not None:
                raise StackError(
                    f"{name} ended with code {child.process.returncode} while starting; "
                    f"the end of {child.log}:\n{process.tail(child.log)}"
                )
            answer = await asyncio.to_thread(readiness, url)
            if answer == "ready":
                self._say(f"{name} ready at {url} ({time.monotonic() - since:.1f} s)")
                return
            await asyncio.sleep(0.1)
        raise StackError(
            f"{name} is {answer} after {READY_WITHIN_S:.0f} s; the end of {child.log}:\n{process.tail(child.log)}"
        )

    def _starter(self, name: str) -> Callable[[], subprocess.Popen[bytes]]:
        def start() -> subprocess.Popen[bytes]:
            return process.spawn(
                self._command(name),
                log=self.logs / f"{name}.log",
                record=self._record(name),
                env=os.environ | {"EBBTIDE_DATA_DIR": str(self.folder)} | self._environment(name),
            )

        return start

    def _begin(self, child: Child) -> None:
        child.process = child.start()
        child.started = time.monotonic()

    def _tend(self, child: Child, now: float) -> None:
        if child.process is None or child.process.poll() is None:
            if now - child.started > WELL_AFTER_S:
                child.backoff = 1.0
            return
        if child.restart_at is None:
            self._say(
                f"{child.name} ended with code {child.process.returncode}: "
                f"it is started again in {child.backoff:.0f} s (log: {child.log})"
            )
            child.restart_at = now + child.backoff
            child.backoff = min(child.backoff * 2, LONGEST_BACKOFF_S)
        elif now >= child.restart_at:
            child.restart_at = None
            child.restarts += 1
            try:
                self._begin(child)
            except (ServerError, OSError) as error:
                self._say(f"{child.name} cannot be started: {error}")
            self._write_state("ready")

    def _end_children(self) -> None:
        """Services together, then Kafka, then PostgreSQL; whatever does not end when asked is killed."""
        services = [self._children[name] for name in SERVICES]
        with ThreadPoolExecutor(len(services)) as pool:
            list(pool.map(lambda child: self._end(child, signal.SIGTERM, STOP_PATIENCE_S), services))
        if "kafka" in self._children:
            self._end(self._children["kafka"], signal.SIGTERM, KAFKA_STOP_PATIENCE_S)
        if "postgres" in self._children:
            self._end(self._children["postgres"], signal.SIGINT, STOP_PATIENCE_S)

    def _end(self, child: Child, ask: signal.Signals, patience: float) -> None:
        if child.process is not None:
            since, ran = time.monotonic(), child.process.poll() is None
            asked = process.end(child.process, ask=ask, patience=patience)
            if ran:
                how = "ended" if asked else f"did not end within {patience:.0f} s and was killed"
                self._say(f"{child.name} {how} ({time.monotonic() - since:.1f} s)")
        self._record(child.name).unlink(missing_ok=True)

    def _write_state(self, phase: str) -> None:
        part = self._state.with_suffix(".part")
        restarts = {child.name: child.restarts for child in self._children.values() if child.restarts}
        where = {name: getattr(self.config, name) for name in WHERE}
        # A given database's address may hold a password: it is shown, not kept.
        database = None if self.config.database_url is None else self._database_shown()
        part.write_text(json.dumps({"phase": phase, "restarts": restarts, "where": where, "database": database}))
        part.replace(self._state)

    def _read_state(self) -> dict[str, Any]:
        try:
            found = json.loads(self._state.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _as_started(self, state: dict[str, Any]) -> Settings:
        """The settings in force, with the addresses that the running stack was started with."""
        where = state.get("where")
        if not isinstance(where, dict) or set(where) != set(WHERE):
            return self.config
        if state.get("database") is None:
            where = where | {"database_url": None}
        return self.config.model_copy(update=where)

    def _database_answers(self, state: dict[str, Any]) -> tuple[str, str]:
        """Whether the database answers, and where it is."""
        given = state.get("database")
        if given and self.config.database_url is None:
            return "not asked: EBBTIDE_DATABASE_URL is not set here", str(given)
        return _answers(_select_one(self.config.database)), self._database_shown()

    def _database_shown(self) -> str:
        """The database's address without user and password."""
        return self.config.database.rpartition("@")[2].split("?")[0]


def readiness(base_url: str) -> str:
    """`ready`, or why not, from the /readyz of a service."""
    try:
        with urllib.request.urlopen(f"{base_url}/readyz", timeout=3):
            return "ready"
    except urllib.error.HTTPError as error:
        with error:
            try:
                return f"not ready: {json.loads(error.read())['detail']}"
            except (ValueError, KeyError, TypeError):
                return f"not ready: status {error.code}"
    except OSError:
        return "not answering"


async def _select_one(url: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=4)
    try:
        await connection.execute("SELECT 1")
    finally:
        await connection.close()


def _answers(question: Coroutine[Any, Any, object]) -> str:
    try:
        asyncio.run(asyncio.wait_for(question, 5))
    except (KafkaError, asyncpg.PostgresError, OSError, TimeoutError):
        return "not answering"
    return "ready"
