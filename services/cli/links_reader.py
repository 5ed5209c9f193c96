"""Every link that ingest knows, for a command that runs without ingest."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer

from services.common.kafka import BrokerUnreachable
from services.ingest import attribution
from services.ingest.attribution import Attribution

READ_WITHIN_S = 30.0


async def links(bootstrap: str) -> Attribution:
    """Every link there is. Raises BrokerUnreachable when it cannot be read in time."""

    async def consumer() -> Any:
        client = AIOKafkaConsumer(
            attribution.TOPIC,
            bootstrap_servers=bootstrap,
            client_id="ebbtide",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await client.start()
        return client

    known = Attribution(consumer)
    known.start()
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            while not known.ready:  # noqa: ASYNC110 # it has no event to wait for
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise BrokerUnreachable(
            bootstrap, f"topic {attribution.TOPIC} was not read in {READ_WITHIN_S:.0f} s"
        ) from error
    finally:
        await known.stop()
    return known
