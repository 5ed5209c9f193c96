"""Reads signal topics as a downstream tool would: with confluent-kafka, from the beginning to the end of now."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from confluent_kafka import Consumer, TopicPartition

from schemas.signals import OPPORTUNITY_TOPIC, RISK_TOPIC


@dataclass
class Said:
    """Transitions by id. `repeats` counts further records of a known id, `contradictions` those with other bytes."""

    historical: dict[str, bytes] = field(default_factory=dict)
    live: dict[str, bytes] = field(default_factory=dict)
    repeats: int = 0
    contradictions: int = 0


def signals(bootstrap: str) -> Said:
    """Everything on the signal topics."""
    said = Said()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    try:
        for topic in (RISK_TOPIC, OPPORTUNITY_TOPIC):
            for number in consumer.list_topics(topic).topics[topic].partitions:
                place = TopicPartition(topic, number)
                position, end = consumer.get_watermark_offsets(place)
                place.offset = position
                consumer.assign([place])
                while position < end:
                    for message in consumer.consume(5000, 1.0):
                        assert message.error() is None, message.error()
                        position = message.offset() + 1
                        value = message.value()
                        change = json.loads(value)
                        known = said.historical if change["data"]["historical"] else said.live
                        if change["id"] in known:
                            said.repeats += 1
                            said.contradictions += known[change["id"]] != value
                        known[change["id"]] = value
    finally:
        consumer.close()
    return said
