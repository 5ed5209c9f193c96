"""The delivery process: webhooks, and what else goes out by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from services.common import kafka_connections, logs
from services.common.lifecycle import HealthServer, serve_until_stopped
from services.common.settings import Settings, settings
from services.delivery.alertmanager import alertmanager
from services.delivery.canary import canary
from services.delivery.gauges import Gauges
from services.delivery.webhooks import Webhooks

PROCESS = "delivery"


class Part(Protocol):
    """One thing that this process does, whatever becomes of the others."""

    name: str
    ready: bool
    detail: str

    async def run(self, stop: asyncio.Event) -> None:
        """Do it until told to stop."""


def parts(config: Settings) -> Sequence[Part]:
    """Everything that is done under this configuration."""
    found: list[Part] = [Webhooks(config), Gauges(config)]
    if config.alertmanager_url:
        found.append(alertmanager(config, config.alertmanager_url.split(",")))
    if config.canary_write_key:
        found.append(canary(config, config.canary_write_key))
    return found


async def serve(config: Settings) -> None:
    """Deliver until told to stop."""
    running = parts(config)

    def ready() -> tuple[bool, str]:
        return all(part.ready for part in running), "; ".join(f"{part.name}: {part.detail}" for part in running)

    async with HealthServer(config.metrics_host, config.metrics_port_delivery, ready, process=PROCESS):
        await serve_until_stopped(*(part.run for part in running))


def run() -> None:
    """Run the process until SIGTERM or SIGINT. Exits with code 1 and one line when its port is taken."""
    logs.configure(PROCESS)
    kafka_connections.mend()
    try:
        asyncio.run(serve(settings()))
    except OSError as error:
        raise SystemExit(f"cannot listen: {error}; EBBTIDE_METRICS_PORT_DELIVERY moves the port") from None
