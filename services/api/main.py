"""The api process: settings in, HTTP out, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import uvloop

from services.api.app import make_app
from services.api.database import Readiness
from services.api.endpoints.catalogue import InForce, entries, serve_this
from services.common import db, kafka_connections, logs
from services.common.dead_letter_replay import Prepare, as_they_were
from services.common.http_server import HttpServer
from services.common.lifecycle import HealthServer, serve_until_stopped
from services.common.settings import Settings, settings

PROCESS = "api"
POOL = 10
STATEMENT_TIMEOUT_S = 5.0
WATCH_S = 2.0


def run(laid_over: InForce | None = None, prepare: Prepare = as_they_were) -> None:
    """Serve until SIGTERM or SIGINT. Exits with code 1 and one line when a port is taken.

    `laid_over` is the catalogue in force where it is not the built-in one; `prepare` makes records of dead letters that
    are sent again.
    """
    serve_this(laid_over)
    config = settings()
    logs.configure(PROCESS)
    kafka_connections.mend()
    try:
        uvloop.run(_run(config, prepare))
        # All is closed: the interpreter's last search for garbage would take longer than ending did (0.7 s of CPU).
        gc.freeze()
    except OSError as error:
        raise SystemExit(
            f"cannot listen: {error}; EBBTIDE_API_PORT and EBBTIDE_METRICS_PORT_API move the ports"
        ) from None


async def _run(config: Settings, prepare: Prepare) -> None:
    entries()  # a missing catalogue is a broken installation: say so now, not to the first who asks
    engine = db.create_engine(
        config.database,
        process=PROCESS,
        pool_size=POOL,
        statement_timeout_s=STATEMENT_TIMEOUT_S,
        # A filter that is common and one that matches nothing want different plans.
        plan_each=True,
    )
    readiness = Readiness(engine)
    stopping = asyncio.Event()
    app = make_app(engine, readiness, config, stopping=stopping, prepare=prepare)
    server = HttpServer(app, config.api_host, config.api_port)

    async def end_streams(stop: asyncio.Event) -> None:
        await stop.wait()
        stopping.set()

    async def watch(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await readiness.check()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WATCH_S)

    try:
        async with HealthServer(config.metrics_host, config.metrics_port_api, lambda: readiness.last, process=PROCESS):
            await serve_until_stopped(server.serve, watch, end_streams)
    finally:
        await engine.dispose()
