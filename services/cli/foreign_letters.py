"""Dead letters of ingest, translated again: a call that found no account finds one once the link is there.

Their bytes are a foreign call, not an event: sending them to a topic would be in vain.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer

from services.common.dead_letters import Letter
from services.common.kafka import BrokerUnreachable
from services.ingest import attribution, dead_letters
from services.ingest.attribution import Attribution
from services.ingest.mapping import Mapping
from services.ingest.names import Names
from services.ingest.translate import Translation, Unparsable, segment, stripe, zendesk

READ_WITHIN_S = 30.0


def is_foreign(letter: Letter) -> bool:
    """Whether ingest wrote it."""
    return letter.identity.topic.startswith(dead_letters.SOURCE_TOPIC_PREFIX)


def translate(letter: Letter, mapping: Mapping, links: Names) -> Translation | str:
    """What the call comes to with what is known today, or why it cannot be told."""
    family = letter.identity.topic.removeprefix(dead_letters.SOURCE_TOPIC_PREFIX)
    try:
        received = msgspec.convert(letter.headers[dead_letters.RECEIVED_AT], dt.datetime)
        if family == stripe.SYSTEM:
            return stripe.translate(letter.value, received, links)
        if family == zendesk.SYSTEM:
            return zendesk.translate(letter.value, received, links)
        if family == "segment":
            kind = letter.headers[dead_letters.KIND]
            sent = segment.instant(letter.headers.get(dead_letters.SENT_AT))
            request = segment.Request(
                letter.headers[dead_letters.SOURCE], received, sent, kind if kind in segment.CALLS else ""
            )
            return segment.translate([letter.value], request, mapping, links)
    except (KeyError, msgspec.MsgspecError) as error:
        return f"its headers are not those of ingest: {error}"
    except Unparsable as error:
        return str(error)
    return f"family {family} cannot be translated again"


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
