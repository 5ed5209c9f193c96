"""Webhooks: each endpoint's worker, and who starts and ends them."""

from __future__ import annotations

import asyncio
from typing import Any

from services.common.settings import Settings
from services.delivery.duty import Duty


def webhooks(config: Settings) -> Duty:
    """The part of the process that sends to webhook endpoints."""

    async def work(connection: Any, stop: asyncio.Event) -> None:
        await stop.wait()

    return Duty("webhooks", config, work)
