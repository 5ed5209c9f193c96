"""The api process: settings in, HTTP out, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
import uvloop

from services.api.app import make_app
from services.api.database import Readiness
from services.api.endpoints.catalogue import entries
from services.common import db, logs
from services.common.lifecycle import HealthServer, serve_until_stopped
from services.common.settings import Settings, settings

PROCESS = "api"
SHUTDOWN_S = 8
POOL = 10
STATEMENT_TIMEOUT_S = 5.0
WATCH_S = 2.0


def run() -> None:
    """Serve until SIGTERM or SIGINT. Exits with code 1 and one line when a port is taken."""
    config = settings()
    logs.configure(PROCESS)
    try:
        uvloop.run(_run(config))
    except OSError as error:
        raise SystemExit(
            f"cannot listen: {error}; EBBTIDE_API_PORT and EBBTIDE_METRICS_PORT_API move the ports"
        ) from None


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers of its own: the process has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from None


async def _run(config: Settings) -> None:
    entries()  # a missing catalogue is a broken installation: say so now, not to the first who asks
    engine = db.create_engine(config.database, process=PROCESS, pool_size=POOL, statement_timeout_s=STATEMENT_TIMEOUT_S)
    readiness = Readiness(engine)
    listener = _listen(config.api_host, config.api_port)
    server = _Server(
        uvicorn.Config(
            make_app(engine, readiness),
            loop="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
    )

    async def serve(stop: asyncio.Event) -> None:
        ended = asyncio.create_task(server.serve([listener]))
        told = asyncio.create_task(stop.wait())
        await asyncio.wait([ended, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        server.should_exit = True
        await ended

    async def watch(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await readiness.check()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WATCH_S)

    try:
        async with HealthServer(config.metrics_host, config.metrics_port_api, lambda: readiness.last, process=PROCESS):
            await serve_until_stopped(serve, watch)
    finally:
        await engine.dispose()
