"""The ingest process: settings in, HTTP out, until it is told to stop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer

from schemas.dead_letters import DEAD_LETTER_TOPIC
from schemas.events import INPUT_TOPICS
from services.common import db, kafka, kafka_connections, keys, logs, metrics
from services.common.http_server import HttpServer
from services.common.lifecycle import HealthServer, serve_until_stopped
from services.common.settings import Settings, settings
from services.ingest import attribution, redeem
from services.ingest import straight as straight_links
from services.ingest.app import make_app
from services.ingest.attribution import Attribution
from services.ingest.collector import Collector
from services.ingest.mapping import MappingError, load
from services.ingest.redeem import Redeemer
from services.ingest.service import Secrets, Service
from services.ingest.straight import StraightLinks
from services.ingest.write_keys import Key, WriteKeys

PROCESS = "ingest"
STOP_S = 5


def run() -> None:
    """Serve until SIGTERM or SIGINT. Exits with code 1 and one line when the mapping is refused or a port is taken."""
    config = settings()
    logs.configure(PROCESS)
    kafka_connections.mend()
    try:
        uvloop.run(_run(config))
    except MappingError as error:
        raise SystemExit(f"the mapping of event names is refused:\n{error}") from None
    except OSError as error:
        raise SystemExit(
            f"cannot listen: {error}; EBBTIDE_INGEST_PORT and EBBTIDE_METRICS_PORT_INGEST move the ports"
        ) from None


async def _run(config: Settings) -> None:
    mapping = load(config.ingest_mapping_file)
    engine = db.create_engine(config.database, process=PROCESS)

    async def lookup(secret: str) -> Key | None:
        return await keys.lookup(engine, secret)

    async def consumer(topic: str, **options: Any) -> Any:
        client = AIOKafkaConsumer(
            topic,
            bootstrap_servers=config.bootstrap,
            client_id=f"ebbtide-{PROCESS}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **options,
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
        attribution=Attribution(lambda: consumer(attribution.TOPIC)),
        keys=WriteKeys(lookup, config.ingest_key_cache_s, time.monotonic),
        mapping=mapping,
        secrets=Secrets(config.stripe_secret, config.zendesk_secret, config.generic_webhook_secrets),
    )
    metrics.INGEST_LINKS.set_function(lambda: len(service.attribution))
    server = HttpServer(make_app(service), config.ingest_host, config.ingest_port)
    straight = StraightLinks(
        lambda: consumer(straight_links.TOPIC, group_id=straight_links.GROUP), service.attribution, service.collector
    )
    redeemer = Redeemer(
        lambda: consumer(redeem.TOPIC),
        lambda: db.connect(config.database, process=f"{PROCESS}-letters"),
        engine,
        service.attribution,
        service.collector,
        mapping,
    )
    service.collector.start()
    service.attribution.start()
    beside = [asyncio.create_task(straight.run()), asyncio.create_task(redeemer.run())]
    try:
        async with HealthServer(config.metrics_host, config.metrics_port_ingest, service.ready, process=PROCESS):
            await serve_until_stopped(server.serve)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.wait(beside, timeout=STOP_S)
        await service.attribution.stop()
        await service.collector.stop()
        await engine.dispose()
