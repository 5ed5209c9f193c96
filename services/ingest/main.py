"""The ingest process: settings in, HTTP out, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import structlog
import uvicorn
import uvloop
from aiokafka import AIOKafkaConsumer

from schemas.dead_letters import DEAD_LETTER_TOPIC
from schemas.events import INPUT_TOPICS
from services.common import db, kafka, keys, logs, metrics
from services.common.lifecycle import HealthServer, serve_until_stopped
from services.common.settings import Settings, settings
from services.ingest import attribution
from services.ingest.app import make_app
from services.ingest.attribution import Attribution
from services.ingest.collector import Collector
from services.ingest.mapping import MappingError, load
from services.ingest.service import Secrets, Service
from services.ingest.write_keys import Key, WriteKeys

PROCESS = "ingest"
SHUTDOWN_S = 8

log = structlog.get_logger()


def run() -> None:
    """Serve until SIGTERM or SIGINT. Exits with code 1 and one line when the mapping is refused or a port is taken."""
    config = settings()
    logs.configure(PROCESS)
    try:
        uvloop.run(_run(config))
    except MappingError as error:
        raise SystemExit(f"the mapping of event names is refused:\n{error}") from None
    except OSError as error:
        raise SystemExit(
            f"cannot listen: {error}; EBBTIDE_INGEST_PORT and EBBTIDE_METRICS_PORT_INGEST move the ports"
        ) from None


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers of its own: the process has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError that names host and port."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)


async def _run(config: Settings) -> None:
    mapping = load(config.ingest_mapping_file)
    engine = db.create_engine(config.database, process=PROCESS)

    async def lookup(secret: str) -> Key | None:
        return await keys.lookup(engine, secret)

    async def consumer() -> Any:
        client = AIOKafkaConsumer(
            attribution.TOPIC,
            bootstrap_servers=config.bootstrap,
            client_id=f"ebbtide-{PROCESS}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        try:
            await client.start()
        except BaseException:
            await client.stop()
            raise
        return client

    service = Service(
        collector=Collector(
            # A batch is sent when the one before it is acknowledged: there is nothing to linger for.
            lambda: kafka.producer(config, client_id=f"ebbtide-{PROCESS}", linger_ms=0),
            (*INPUT_TOPICS, DEAD_LETTER_TOPIC, attribution.TOPIC),
            config.ingest_produce_timeout_s,
            observe_produce=metrics.INGEST_PRODUCE_SECONDS.observe,
        ),
        attribution=Attribution(consumer),
        keys=WriteKeys(lookup, config.ingest_key_cache_s, time.monotonic),
        mapping=mapping,
        secrets=Secrets(config.stripe_secret, config.zendesk_secret, config.generic_webhook_secrets),
    )
    metrics.INGEST_LINKS.set_function(lambda: len(service.attribution))
    listener = _listen(config.ingest_host, config.ingest_port)
    server = _Server(
        uvicorn.Config(
            make_app(service),
            host=config.ingest_host,
            port=config.ingest_port,
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

    service.collector.start()
    service.attribution.start()
    try:
        async with HealthServer(config.metrics_host, config.metrics_port_ingest, service.ready, process=PROCESS):
            await serve_until_stopped(serve)
    finally:
        await service.attribution.stop()
        await service.collector.stop()
        await engine.dispose()
