"""What integration, end-to-end and fault tests share: free ports, waiting, and services as real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Which listener of each service answers /livez and /readyz.
READY_PORTS = {
    "ingest": "EBBTIDE_INGEST_PORT",
    "engine": "EBBTIDE_METRICS_PORT_ENGINE",
    "recorder": "EBBTIDE_METRICS_PORT_RECORDER",
    "api": "EBBTIDE_API_PORT",
    "delivery": "EBBTIDE_METRICS_PORT_DELIVERY",
}


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports of loopback that nobody listens on now."""
    # Below the range that outgoing connections' ports come from, so that none is taken between here and the bind.
    found: list[int] = []
    start = 10_000 + (os.getpid() * 97 + time.monotonic_ns() // 1000) % 20_000
    for port in (*range(start, 32_000), *range(10_000, start)):
        if len(found) == count:
            break
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def wait_for[T](what: str, probe: Callable[[], T], *, within: float = 30.0, every: float = 0.05) -> T:
    """Return the first truthy answer of `probe`; AssertionError naming `what` after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}"
        time.sleep(every)


def http_status(url: str) -> int:
    """Status code of a GET, 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@dataclass
class Service:
    """One running `ebbtide serve NAME`."""

    name: str
    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def stop(self, patience: float = 15.0) -> int:
        """End it by SIGTERM; AssertionError when it has not gone within `patience` seconds. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} did not end on SIGTERM:\n{self.tail()}") from None
        return self.process.returncode

    def kill(self) -> None:
        """End it as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def start_service(
    name: str, env: Mapping[str, str], *, ready: bool = True, within: float = 45.0, log_name: str | None = None
) -> Service:
    """Start `ebbtide serve NAME` with `env` (see the `service_env` fixture) and wait until /readyz says 200.

    The log goes to `logs/NAME.log` in EBBTIDE_DATA_DIR (`log_name` for a second one of the same kind).
    AssertionError with the end of the log when it ends or is not ready within `within` seconds.
    """
    log = Path(env["EBBTIDE_DATA_DIR"]) / "logs" / f"{log_name or name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.cli.main", "serve", name],
            cwd=ROOT,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    service = Service(name, f"http://127.0.0.1:{env[READY_PORTS[name]]}", log, process)
    if not ready:
        return service

    def is_ready() -> bool:
        assert process.poll() is None, f"{name} ended with code {process.returncode}:\n{service.tail()}"
        return http_status(f"{service.url}/readyz") == 200

    try:
        wait_for(f"{name} ready", is_ready, within=within)
    except BaseException as error:
        service.kill()
        if isinstance(error, AssertionError):
            raise AssertionError(f"{error}\nend of {log}:\n{service.tail()}") from None
        raise
    return service


def ebbtide(
    *arguments: str, env: Mapping[str, str], timeout: float = 120.0, ok: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run one `ebbtide` command to its end. With `ok`, a non-zero exit code is an AssertionError with its output."""
    done = subprocess.run(
        [sys.executable, "-m", "services.cli.main", *arguments],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if ok:
        assert done.returncode == 0, f"ebbtide {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def new_key(env: Mapping[str, str], *scopes: str, source: str | None = None) -> str:
    """The secret of a new key with these scopes (write keys: scope `ingest` and a `source`)."""
    arguments = ["keys", "create", "--scope", ",".join(scopes), "--json"]
    if source is not None:
        arguments += ["--source", source]
    return str(json.loads(ebbtide(*arguments, env=env).stdout)["key"])
