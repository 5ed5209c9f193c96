"""How far behind the engine is: records on the input topics that it has not committed yet."""

from __future__ import annotations

from aiokafka.errors import KafkaError

from schemas.events import INPUT_TOPICS
from services.common.kafka import BrokerUnreachable, UnknownTopic, admin, end_offsets
from services.common.settings import Settings


async def behind(settings: Settings) -> int | None:
    """Records that the engine has yet to take, over all input topics; None where it never took one, or nobody answers.

    Never raises for the broker's sake: this is for showing.
    """
    try:
        async with admin(settings.bootstrap) as client:
            taken = await client.list_consumer_group_offsets(settings.engine_app_id)
        ends = await end_offsets(settings.bootstrap, INPUT_TOPICS)
    except (BrokerUnreachable, UnknownTopic, KafkaError, OSError, TimeoutError):
        return None
    offsets: dict[object, int] = {
        place: taken[place].offset for place in ends if place in taken and taken[place].offset >= 0
    }
    if not offsets:
        return None
    return sum(max(0, end - offsets.get(place, 0)) for place, end in ends.items())
