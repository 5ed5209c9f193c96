"""How a process lives: it runs until it is told to stop, says whether it is alive and ready, and shows its metrics."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from types import TracebackType
from typing import Self

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.common import metrics

log = structlog.get_logger()

MAX_REQUEST_BYTES = 8192
REQUEST_WITHIN_S = 5.0


def stop_event() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets. Call inside the running loop; replaces earlier handlers of both signals."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told(number: signal.Signals) -> None:
        log.info("told to stop", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told, number)
    return stop


async def serve_until_stopped(*services: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run every service at once until SIGTERM or SIGINT, or until one of them ends.

    Each is called with the event that tells it to stop, and returns soon after that. One that returns or raises by
    itself stops the others; its exception is raised here once all have ended.
    """
    stop = stop_event()

    async def run(service: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        try:
            await service(stop)
        finally:
            stop.set()

    results = await asyncio.gather(*(run(service) for service in services), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        for other in failures[1:]:
            log.error("also failed while stopping", error=repr(other))
        raise failures[0]


class HealthServer:
    """A small HTTP listener with `/livez`, `/readyz` and `/metrics`, inside the process's own event loop.

    `/livez` answers 200 as long as the loop turns. `/readyz` answers 200 or 503 with `{"ready": bool, "detail": text}`
    from `ready`, which must not block. `/metrics` is the Prometheus text format.
    """

    def __init__(self, host: str, port: int, ready: Callable[[], tuple[bool, str]], *, process: str = "") -> None:
        self.host = host
        self.port = port
        self._ready = ready
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        if process:
            metrics.READY.labels(process).set_function(lambda: float(ready()[0]))

    async def start(self) -> None:
        """Listen. Raises OSError, naming host and port, when the port is taken."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=MAX_REQUEST_BYTES)

    async def stop(self) -> None:
        """Stop listening and close what is open. Does nothing when not started."""
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._open):
                writer.close()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # One request a connection: scrapers and probes do not mind, and nothing stays open.
        self._open.add(writer)
        try:
            async with asyncio.timeout(REQUEST_WITHIN_S):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = self._answer(head)
                writer.write(
                    f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                )
                if not head.startswith(b"HEAD "):
                    writer.write(body)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that is slow, gone or talks something else; there is nobody to tell
        finally:
            self._open.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> tuple[HTTPStatus, str, bytes]:
        method, _, rest = head.partition(b" ")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
        if method not in (b"GET", b"HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"GET only\n"
        if path == b"/livez":
            return HTTPStatus.OK, "text/plain", b"ok\n"
        if path == b"/readyz":
            ready, detail = self._ready()
            body = json.dumps({"ready": ready, "detail": detail}).encode()
            return HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, "application/json", body
        if path == b"/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest()
        return HTTPStatus.NOT_FOUND, "text/plain", b"/livez, /readyz, /metrics\n"
