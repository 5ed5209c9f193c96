"""A server process that outlives the one who started it: its record on disk, who it really is, and how it is ended.

A record names pid, start time and command. Nothing is signalled unless all three still fit, so a pid that the system
has given to somebody else is never touched.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

# psutil derives a start time from the boot time, which moves when the wall clock is set.
START_TIME_TOLERANCE_S = 5.0


class ServerError(Exception):
    """A server of the local stack could not be started or did not answer. The message says what to do."""


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    record: Path,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own (a terminal's Ctrl-C does not reach it) and write its record.

    Standard output and error are appended to `log`. `user` is a uid to change to (root only).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    record.parent.mkdir(parents=True, exist_ok=True)
    drop = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            **drop,  # type: ignore[call-overload]
        )
    write_record(record, process.pid, command)
    return process  # type: ignore[no-any-return]


def write_record(record: Path, pid: int, command: Sequence[str]) -> None:
    """Write who `pid` is to `record`, whole or not at all."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        started = time.time()
    part = record.with_suffix(".part")
    part.write_text(json.dumps({"pid": pid, "started": started, "command": list(command)}))
    part.replace(record)


def recorded(record: Path) -> psutil.Process | None:
    """The live process that `record` names, or None when there is no record, it ended, or the pid is another's now."""
    try:
        fields = json.loads(record.read_text())
        process = psutil.Process(fields["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if abs(process.create_time() - fields["started"]) > START_TIME_TOLERANCE_S:
            return None
        # A process may rewrite its title (postgres does), but not into another program's.
        wanted, running = Path(fields["command"][0]).name, process.cmdline()
        if not running or wanted not in running[0]:
            return None
    except (FileNotFoundError, ValueError, KeyError, IndexError, psutil.Error):
        return None
    return process


def end(
    process: subprocess.Popen[bytes] | psutil.Process,
    *,
    ask: signal.Signals = signal.SIGTERM,
    patience: float = 15.0,
    family: bool = True,
) -> bool:
    """End a process and (with `family`) all below it: ask, wait at most `patience` seconds, then kill.

    Returns True when it went by itself, False when it had to be killed.
    """
    below = _below(process.pid) if family else []
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        process.send_signal(ask)
    # A stopped process (Ctrl-Z, SIGSTOP) would never see the request.
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)
    asked = _gone(process, patience)
    if not asked:
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            process.kill()
        _gone(process, 10.0)
    for left in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()  # psutil looks at the start time first: a pid that is another's by now is left alone
    return asked


def _below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _gone(process: subprocess.Popen[bytes] | psutil.Process, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while _lives(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def _lives(process: subprocess.Popen[bytes] | psutil.Process) -> bool:
    if isinstance(process, subprocess.Popen):
        return process.poll() is None
    try:
        # Somebody else's ended child stays a zombie for as long as its parent does not look.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_recorded(record: Path, *, ask: signal.Signals = signal.SIGTERM, patience: float = 15.0) -> bool:
    """End the process that `record` names, if it is still that one, and remove the record. True if one was running."""
    process = recorded(record)
    if process is not None:
        end(process, ask=ask, patience=patience)
    record.unlink(missing_ok=True)
    return process is not None


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log file, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return f"(no log at {log})"
