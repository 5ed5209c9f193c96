"""One fault run: engine workers as processes, a load, faults, and the verdict. See the package's docstring for its use."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

from services.signals.runtime.failpoints import VARIABLE
from tests.conftest import clean_environment
from tests.faults import log
from tests.faults.checker import OWN_KEY, Verdict, check, id_of, own_record
from tests.faults.load import Load, Sender
from tests.harness import ROOT, ebbtide, free_ports, http_status, wait_for

SESSION_S = 6
"""After so long a worker that died is missed, and others take its partitions."""

REPORTS: list[Report] = []
"""What the runs of this session came to, for the summary at its end."""


@dataclass
class Report:
    """The figures of one run."""

    name: str
    runtime: str
    store: str
    faults: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    """Workers that ended by themselves, by the reason they gave."""
    takeovers: list[float] = field(default_factory=list)
    verdict: Verdict | None = None
    seconds: float = 0.0
    expects_failure: bool = False

    def __str__(self) -> str:
        faults = ", ".join(f"{count} × {what}" for what, count in self.faults.items()) or "no fault"
        figures = self.verdict.figures if self.verdict else {}
        takeovers = ""
        if self.takeovers:
            spread = sorted(self.takeovers)
            takeovers = f"; going on again after {spread[len(spread) // 2]:.1f} s (most {spread[-1]:.1f})"
        if self.verdict is None:
            outcome = "NOT JUDGED"
        elif self.verdict.problems:
            outcome = f"{len(self.verdict.problems)} PROBLEMS" + (" as expected" if self.expects_failure else "")
        else:
            outcome = "exact" + (", ALTHOUGH A GUARD IS OUT" if self.expects_failure else "")
        lines = [
            f"{self.name} [{self.runtime}, {self.store}] {outcome} in {self.seconds:.0f} s",
            f"    {faults}{takeovers}",
        ]
        if self.ended:
            lines.append("    ended: " + ", ".join(f"{count} × {why}" for why, count in self.ended.items()))
        if figures:
            lines.append(
                f"    {figures['records'] - figures['ticks']:,} records ({figures['duplicate']} duplicate, "
                f"{figures['dead']} dead) and {figures['ticks']:,} ticks of {figures['accounts']} accounts → "
                f"{figures['transitions']} transitions + {figures['repeats']} repeats, {figures['effects']:,} effects"
            )
        if self.expects_failure and self.verdict:
            lines += [f"    {problem[:200]}" for problem in self.verdict.problems[:2]]
        return "\n".join(lines)


@dataclass
class Worker:
    """One engine process. `wanted` is false once it was told to end."""

    name: str
    env: dict[str, str]
    process: subprocess.Popen[bytes]
    url: str
    log: Path
    wanted: bool = True
    once: str = ""
    """The failpoint of this start."""


class FaultRun:
    """A context manager around one run on topics of its own. The broker must hold no other engine's input topics.

    `bootstrap` is where the load, the reader and the checker go; `engine_bootstrap` where the workers go, if that is
    somewhere else (a proxy). `settings` are further `EBBTIDE_*` variables for topics and workers. A worker that ends
    without having been told to is started again, as whoever runs it in production does, without its `once` variables.
    """

    def __init__(
        self,
        bootstrap: str,
        folder: Path,
        *,
        name: str,
        runtime: str = "chunked",
        store: str = "rocksdb",
        engine_bootstrap: str | None = None,
        settings: Mapping[str, str] | None = None,
        partitions: int = 4,
        restarts: bool = True,
    ) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.app_id = f"faults-{uuid.uuid4().hex[:8]}"
        self.report = Report(name, runtime, store)
        self.workers: dict[str, Worker] = {}
        self._partitions = partitions
        self._restarts = restarts
        self._env = clean_environment() | {
            "EBBTIDE_DATA_DIR": str(folder),
            "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "EBBTIDE_ENGINE_APP_ID": self.app_id,
            "EBBTIDE_TOPIC_PARTITIONS": str(partitions),
            "EBBTIDE_ENGINE_RUNTIME": runtime,
            "EBBTIDE_ENGINE_STORE": store,
            "EBBTIDE_ENGINE_SESSION_TIMEOUT_S": str(SESSION_S),
            "EBBTIDE_ENGINE_BATCH": "200",
            "EBBTIDE_TICKS": "off",
            "CRASH_OF_TEST": "crash-",
            "PYTHONUNBUFFERED": "1",
            **(settings or {}),
        }
        self._engine_bootstrap = engine_bootstrap or bootstrap
        self._sender: Sender | None = None
        self._load: Load | None = None
        self._tail: log.Tail | None = None
        self._seen = 0
        self._concluded: dict[int, dict[str, Any]] = {}
        self._failpoints: dict[str, list[str]] = {}
        self._planned: dict[str, int] = {}
        self._died: Counter[str] = Counter()
        self._ending = threading.Event()
        self._lock = threading.RLock()
        self._started = time.monotonic()

    # -- begin and end --------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        REPORTS.append(self.report)
        self.folder.mkdir(parents=True, exist_ok=True)
        ebbtide("topics", "apply", env=self._env)
        self._tail = log.Tail(self.bootstrap, [log.changelog_of(self.app_id), *log.SIGNALS, log.DEAD_LETTERS])
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._keeper.join()
        for worker in self.workers.values():
            worker.process.kill()
            worker.process.wait()
        if self._sender is not None:
            self._sender.stop()
        if self._tail is not None:
            self._tail.stop()
        self.report.seconds = time.monotonic() - self._started

    # -- workers --------------------------------------------------------------------------------------------------

    def start_worker(self, name: str, *, ready: bool = True, once: Mapping[str, str] | None = None, **env: str) -> None:
        """Start a worker, or an ended one again. `env` stays with it; `once` is for this start only (failpoints).

        With `ready`, return when it says that it is.
        """
        with self._lock:
            before = self.workers.get(name)
            if before is not None:
                assert before.process.poll() is not None, f"worker {name} runs already"
                env = {**before.env, **env}
            (port,) = free_ports(1)
            path = self.folder / f"{name}.log"
            with path.open("ab") as out:
                process = self._spawn({**env, **(once or {}), "EBBTIDE_METRICS_PORT_ENGINE": str(port)}, out)
            failpoint = (once or {}).get(VARIABLE, "")
            self.workers[name] = Worker(name, env, process, f"http://127.0.0.1:{port}", path, once=failpoint)
        if ready:
            self.ready(name)

    def start_failing(self, name: str, failpoints: Sequence[str], **env: str) -> None:
        """Start a worker that dies at each of these failpoints (`place:n:kill`), one after another, once a start each."""
        self._failpoints[name] = list(failpoints)
        self._planned[name] = len(failpoints)
        self.start_worker(name, ready=False, once={VARIABLE: failpoints[0]}, **env)

    def died_at_all(self, name: str, within: float = 180.0) -> None:
        """Wait until a worker has died at each of its failpoints, `within` seconds each; after each the engine goes on.

        One that does not come to its failpoint stays away until another has its partitions: who is back before its session
        ends gets them again as they were, and then there is nothing to recover.
        """
        for number in range(1, self._planned[name] + 1):
            try:
                wait_for("the failpoint", partial(self._has_died, name, number), within=within / 3)
            except AssertionError:
                self._leave_and_return(name)
                wait_for(f"{name} dies at its failpoint {number}", partial(self._has_died, name, number), within=within)
            self.progress()

    def _leave_and_return(self, name: str) -> None:
        self.kill(name, again=False)
        time.sleep(SESSION_S + 4)
        with self._lock:
            self.start_worker(name, ready=False, once=self._next_failpoint(name))

    def _next_failpoint(self, name: str) -> dict[str, str] | None:
        failpoints = self._failpoints.get(name)
        return {VARIABLE: failpoints[0]} if failpoints else None

    def _has_died(self, name: str, times: int) -> bool:
        return self._died[name] >= times

    def _spawn(self, env: Mapping[str, str], out: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.engine"],
            cwd=ROOT,
            env=self._env | {"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": self._engine_bootstrap} | dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )

    def ready(self, name: str, within: float = 240.0) -> None:
        """Wait until a worker is ready, through restarts of it."""
        wait_for(
            f"worker {name} ready",
            lambda: http_status(f"{self.workers[name].url}/readyz") == 200,
            within=within,
            every=0.1,
        )

    def kill(self, name: str, *, again: bool = True) -> None:
        """End a worker as a power cut would; with `again` it is started again as after any end of its own."""
        with self._lock:
            worker = self.workers[name]
            self.fault("kill -9")
            worker.wanted = again
            worker.process.kill()
            worker.process.wait()

    def terminate(self, name: str, within: float = 60.0) -> float:
        """SIGTERM. Returns how long it took to go; AssertionError when it did not, or with another code than 0."""
        with self._lock:
            worker = self.workers[name]
            self.fault("SIGTERM")
            worker.wanted = False
        started = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        try:
            code = worker.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{name} did not end on SIGTERM\n{self.tail(name)}") from None
        assert code in (0, -signal.SIGTERM), f"{name} ended with {code} on SIGTERM\n{self.tail(name)}"
        return time.monotonic() - started

    def freeze(self, name: str) -> None:
        """SIGSTOP: a machine that is paused."""
        self.fault("SIGSTOP")
        self.workers[name].process.send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        self.workers[name].process.send_signal(signal.SIGCONT)

    def wait_stopped(self, name: str, place: str, within: float = 240.0) -> None:
        """Wait until a failpoint has stopped the worker."""
        status = Path(f"/proc/{self.workers[name].process.pid}/stat")
        wait_for(
            f"worker {name} stops itself",
            lambda: status.read_text().rpartition(")")[2].split()[0] == "T",
            within=within,
        )
        self.fault(f"SIGSTOP at {place}")

    def wait_ended(self, name: str, process: subprocess.Popen[bytes], within: float = 60.0) -> int:
        """Wait until that process of a worker has ended, and return its code."""
        try:
            return process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{name} did not end within {within:.0f} s\n{self.tail(name)}") from None

    def fault(self, what: str) -> None:
        """Count a fault that was made, also one made outside (a broker, a network)."""
        self.report.faults[what] += 1

    def tail(self, name: str, lines: int = 25) -> str:
        """The end of a worker's log."""
        return "\n".join(self.workers[name].log.read_text(errors="replace").splitlines()[-lines:])

    def _keep(self) -> None:
        """Start workers again that ended by themselves."""
        while not self._ending.wait(0.1):
            with self._lock:
                for worker in list(self.workers.values()):
                    code = worker.process.poll()
                    if code is None or not worker.wanted or not self._restarts or self._ending.is_set():
                        continue
                    failpoints = self._failpoints.get(worker.name, [])
                    if code == -signal.SIGKILL and failpoints and worker.once == failpoints[0]:
                        self.fault(f"kill at {failpoints.pop(0).split(':')[0]}")
                        self._died[worker.name] += 1
                    elif code != -signal.SIGKILL:
                        self.report.ended[self._reason(worker, code)] += 1
                    self.start_worker(worker.name, ready=False, once=self._next_failpoint(worker.name))

    @staticmethod
    def _reason(worker: Worker, code: int) -> str:
        for line in reversed(worker.log.read_text(errors="replace").splitlines()):
            if "the engine failed on a record" in line:
                return "poison"
            if "the engine ends" in line:
                known = ("another worker has this partition", "missing", "no verified hole", "cannot be read")
                return next((what for what in known if what in line), line[line.index("the engine ends") :][:120])
        return f"exit code {code}"

    # -- load and progress ----------------------------------------------------------------------------------------

    def load(self, load: Load, *, rate: float = 300.0) -> Sender:
        """Begin to send a load, at most `rate` records a second."""
        assert self._sender is None, "one load a run"
        self._load = load
        self._sender = Sender(self.bootstrap, load, rate=rate, partitions=self._partitions)
        return self._sender

    def take_over(self, sender: Sender, load: Load) -> None:
        """Let a load that was sent otherwise be this run's."""
        self._sender, self._load = sender, load

    @property
    def loading(self) -> bool:
        """Whether the load still sends."""
        return self._sender is not None and not self._sender.done

    def concluded(self) -> dict[int, int]:
        """Input records that the engine's state holds, per partition, as the reader has seen it so far."""
        assert self._tail is not None
        records = self._tail.records
        while self._seen < len(records):
            record = records[self._seen]
            self._seen += 1
            if record.key == OWN_KEY and record.topic not in (*log.SIGNALS, log.DEAD_LETTERS) and record.value:
                own = own_record(record.value)
                before = self._concluded.get(record.partition)
                if before is None or sum(own["records"]) >= sum(before["records"]):
                    self._concluded[record.partition] = own
        return {number: sum(own["records"]) for number, own in self._concluded.items()}

    def progress(self, records: int = 1, *, within: float = 240.0) -> float:
        """Wait until every partition's state holds `records` more, from now on; returns the seconds it took.

        To be called after each fault: AssertionError when the engine does not go on.
        """
        before, started = self.concluded(), time.monotonic()

        def went_on() -> bool:
            now = self.concluded()
            return all(now.get(number, 0) >= before.get(number, 0) + records for number in range(self._partitions))

        try:
            wait_for(f"{self.report.name}: progress in every partition", went_on, within=within, every=0.1)
        except AssertionError as error:
            logs = "\n".join(f"--- {name}\n{self.tail(name)}" for name in self.workers)
            raise AssertionError(f"{error}; before {before}, now {self.concluded()}\n{logs}") from None
        self.report.takeovers.append(time.monotonic() - started)
        return self.report.takeovers[-1]

    # -- the end --------------------------------------------------------------------------------------------------

    def settle(self, *, within: float = 240.0) -> None:
        """Bring the run to its end: the workers conclude the whole load; then one that has nothing but the changelog.

        The last worker starts with empty disks and no faults, judges the closing ticks, says every account's health,
        and is ended. After this nothing is written any more.
        """
        assert self._sender is not None
        assert self._load is not None
        self._sender.join()
        self._drained(within)
        for name, worker in self.workers.items():
            if worker.process.poll() is None:
                self.ready(name)
        with self._lock:
            for worker in self.workers.values():
                worker.wanted = False
                if worker.process.poll() is None:
                    worker.process.send_signal(signal.SIGTERM)
        for worker in self.workers.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(60)
            worker.process.kill()
            worker.process.wait()
        self._sender.close_with(self._load.closing())
        folder = self.folder / "last"
        folder.mkdir()
        for shared in (self.folder / "engine" / self.app_id).glob("poison.json"):
            place = folder / "engine" / self.app_id
            place.mkdir(parents=True)
            (place / shared.name).write_bytes(shared.read_bytes())
        self.start_worker("last", EBBTIDE_DATA_DIR=str(folder), EBBTIDE_TICKS="off")
        self._drained(within)
        self._health_said(within)
        self.workers["last"].wanted = False
        self.workers["last"].process.send_signal(signal.SIGTERM)
        code = self.workers["last"].process.wait(60)
        assert code == 0, f"the last worker ended with {code}\n{self.tail('last')}"

    def _drained(self, within: float) -> None:
        """Wait until the state stands at the end of every input topic."""
        ends: dict[int, list[int]] = {}
        for record in log.read(self.bootstrap, log.TICKS_AND_EVENTS):
            own = ends.setdefault(record.partition, [-1] * len(log.TICKS_AND_EVENTS))
            own[log.TICKS_AND_EVENTS.index(record.topic)] = record.offset

        def applied(number: int) -> list[int]:
            self.concluded()
            own = self._concluded.get(number)
            return [-1] * len(log.TICKS_AND_EVENTS) if own is None else own["applied"]

        def drained() -> bool:
            return all(all(map(int.__ge__, applied(number), last)) for number, last in ends.items())

        try:
            wait_for(f"{self.report.name}: everything concluded", drained, within=within, every=0.2)
        except AssertionError as error:
            logs = "\n".join(f"--- {name}\n{self.tail(name)}" for name in self.workers)
            have = {number: applied(number) for number in ends}
            raise AssertionError(f"{error}; the topics end at {ends}, the state at {have}\n{logs}") from None

    def _health_said(self, within: float) -> None:
        """Wait until no more health records come: at most every five seconds each account's is written."""
        deadline = time.monotonic() + within
        before = -1
        while time.monotonic() < deadline:
            count = len(log.read(self.bootstrap, [log.HEALTH]))
            if count == before:
                return
            before = count
            time.sleep(2.0)

    def judge(self) -> Verdict:
        """The verdict over what the topics hold, together with what the reader saw while the faults happened."""
        assert self._load is not None
        assert self._tail is not None
        found = log.read_all(self.bootstrap, self.app_id)
        verdict = check(found, poison=self._load.poison)
        kept = {(record.topic, record.partition, record.offset) for record in (*found.signals, *found.dead_letters)}
        read = [record for record in self._tail.records if record.topic in (*log.SIGNALS, log.DEAD_LETTERS)]
        verdict.add(
            [
                f"{record.topic} at {record.partition}:{record.offset} was read and is gone"
                for record in read
                if (record.topic, record.partition, record.offset) not in kept
            ]
        )
        verdict.figures["read_meanwhile"] = len({id_of(record) for record in read if record.topic in log.SIGNALS})
        self.report.verdict = verdict
        self.report.seconds = time.monotonic() - self._started
        return verdict

    def check(self) -> Verdict:
        """As `judge`; AssertionError with everything that is wrong."""
        verdict = self.judge()
        if verdict.problems:
            logs = "\n".join(f"--- {name}\n{self.tail(name)}" for name in self.workers)
            raise AssertionError("\n".join([str(self.report), *verdict.problems, logs]))
        return verdict


def moments(seed: int, count: int, least: float, most: float) -> Iterator[tuple[random.Random, float]]:
    """`count` pauses of a seeded schedule, in seconds, each with the generator to choose what follows."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance, chance.uniform(least, most)
