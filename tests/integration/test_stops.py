"""Every process ends soon after SIGTERM, also where the broker hangs. The engine has tests of its own."""

from __future__ import annotations

import signal
import time

from deploy.local.kafka import LocalKafka
from tests.faults.bench import Load
from tests.harness import Service, start_service

WITHIN_S = 10.0
"""A third of an orchestrator's usual patience."""


def test_while_the_broker_hangs(clean_topics: LocalKafka, service_env: dict[str, str]) -> None:
    broker = clean_topics.process
    assert broker is not None
    services: list[Service] = []
    load = Load(clean_topics.bootstrap, rate=100)
    try:
        services += (start_service(name, service_env) for name in ("recorder", "ingest", "delivery", "api"))
        broker.send_signal(signal.SIGSTOP)
        time.sleep(1)
        started = time.monotonic()
        for service in services:
            service.process.send_signal(signal.SIGTERM)
        for service in services:
            assert service.stop(patience=60) == 0, service.tail()
            assert time.monotonic() - started < WITHIN_S, service.name
    finally:
        broker.send_signal(signal.SIGCONT)
        clean_topics.wait_ready()
        load.finish()
        for service in services:
            service.kill()
