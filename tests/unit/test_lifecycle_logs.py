"""Logs, the metrics' vocabulary, and how a process ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys

import pytest
from prometheus_client import REGISTRY

from services.common import lifecycle, metrics
from services.common.repeats import OncePer

LOGGING = """
import logging, structlog
from services.common import logs
early = structlog.get_logger()
logs.configure("engine")
early.info("applied", records=3)
logging.getLogger("somebody.else").warning("slow %s", "disk", extra={"seconds": 2})
logging.getLogger("aiokafka").info("never shown")
for _ in range(1000):
    logging.getLogger("aiokafka").error("connect to %s failed", "a:1")
password = "hunter" + "2"
try:
    1 / 0
except ZeroDivisionError:
    early.exception("failed")
"""


def _logged(form: str) -> list[str]:
    environment = os.environ | {"EBBTIDE_LOG_FORMAT": form}
    done = subprocess.run([sys.executable, "-c", LOGGING], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_logs_are_one_object_a_line_also_from_libraries() -> None:
    applied, slow, away, failed = [json.loads(line) for line in _logged("json")]
    assert (applied["event"], applied["records"], applied["level"]) == ("applied", 3, "info")
    assert (slow["event"], slow["seconds"], slow["level"]) == ("slow disk", 2, "warning")
    assert away["event"] == "connect to a:1 failed"
    assert "ZeroDivisionError" in failed["exception"]
    assert "hunter2" not in failed["exception"]
    assert {line["process"] for line in (applied, slow, away, failed)} == {"engine"}


def test_text_logs_show_the_same() -> None:
    lines = _logged("text")
    assert "applied" in lines[0]
    assert "records=3" in lines[0]
    assert "process=engine" in lines[0]
    assert any("ZeroDivisionError" in line for line in lines)
    assert not any("hunter2" in line for line in lines), "local variables are secrets and customers' data"


def test_a_repeated_library_line_is_said_once_in_a_while() -> None:
    now = [0.0]
    once = OncePer(30.0, lambda: now[0])

    def said(name: str, message: str, *args: object) -> str | None:
        line = logging.LogRecord(name, logging.ERROR, "f", 1, message, args, None)
        return line.getMessage() if once.filter(line) else None

    assert said("aiokafka", "connect to %s failed", "a:1") == "connect to a:1 failed"
    assert [said("aiokafka", "connect to %s failed", "a:1") for _ in range(5)] == [None] * 5
    assert said("aiokafka.cluster", "other") == "other"
    assert [said("services.x", "ours") for _ in range(3)] == ["ours"] * 3
    now[0] = 31.0
    assert said("aiokafka", "connect to %s failed", "a:1") == "connect to a:1 failed (5 more like it since)"


def test_metrics_are_named_documented_and_without_account_labels() -> None:
    ours = [metric for metric in REGISTRY.collect() if not metric.name.startswith(("process_", "python_"))]
    declared = [value for value in vars(metrics).values() if hasattr(value, "_labelnames")]
    assert declared
    for metric in ours:
        assert metric.name.startswith("ebbtide_"), metric.name
        assert metric.documentation, metric.name
    for value in declared:
        assert not {"account", "account_id", "subject", "user", "key"} & set(value._labelnames), value._name


async def test_signal_ends_every_service() -> None:
    ended: list[str] = []

    async def service(stop: asyncio.Event) -> None:
        await stop.wait()
        ended.append("service")

    async def tells(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        ended.append("tells")

    await lifecycle.serve_until_stopped(service, tells)
    assert sorted(ended) == ["service", "tells"]


async def test_failure_of_one_service_ends_the_others_and_is_raised() -> None:
    ended: list[str] = []

    async def service(stop: asyncio.Event) -> None:
        await stop.wait()
        ended.append("service")

    async def fails(stop: asyncio.Event) -> None:
        raise OSError("port taken")

    with pytest.raises(OSError, match="port taken"):
        await lifecycle.serve_until_stopped(service, fails)
    assert ended == ["service"]


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /livez HTTP/1.1", 200),
        (b"GET /readyz?x=1 HTTP/1.1", 503),
        (b"GET /metrics HTTP/1.1", 200),
        (b"GET /else HTTP/1.1", 404),
        (b"POST /livez HTTP/1.1", 405),
        (b"nonsense", 405),
    ],
)
def test_health_answers(request_line: bytes, status: int) -> None:
    server = lifecycle.HealthServer("127.0.0.1", 1, lambda: (False, "recovering"))
    answer, _, body = server._answer(request_line + b"\r\nHost: x\r\n\r\n")
    assert answer == status
    if status == 503:
        assert json.loads(body) == {"ready": False, "detail": "recovering"}
