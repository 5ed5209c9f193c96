"""Whatever is wrong with a record: its bytes end in dead-letters with the reason and the field, and it is counted."""

from __future__ import annotations

import datetime as dt
import json
import re
import urllib.request

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from deploy.local.kafka import LocalKafka
from schemas.dead_letters import DEAD_LETTER_TOPIC, HEADERS
from tests.harness import start_service, wait_for

NOW = dt.datetime.now(dt.UTC)


def event(subject: str | None = "acme", time: dt.datetime = NOW, **more: object) -> bytes:
    """A usage event of the account."""
    fields = {
        "specversion": "1.0",
        "id": str(more.pop("id", "e1")),
        "source": "test",
        "type": "usage.feature_used",
        "subject": subject,
        "time": time.isoformat(),
        "data": {"feature": "report"},
    } | more
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


BAD = {
    b"not json": ("malformed", ""),
    event(type="usage.unheard_of"): ("unknown_type", "type"),
    event(data={"feature": "report", "count": -1}): ("invalid", "data.count"),
    event(subject=None): ("unattributed", "subject"),
    event(time=NOW - dt.timedelta(weeks=60), id="old"): ("too_old", "time"),
    event(time=NOW + dt.timedelta(hours=25), id="future"): ("future", "time"),
    event(data={"feature": "report", "padding": "x" * 33_000}): ("too_large", ""),
}


def letters(bootstrap: str) -> list[Message]:
    """Everything on dead-letters."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "letters", "enable.auto.commit": False})
    found: list[Message] = []
    try:
        for number in consumer.list_topics(DEAD_LETTER_TOPIC).topics[DEAD_LETTER_TOPIC].partitions:
            place = TopicPartition(DEAD_LETTER_TOPIC, number)
            low, high = consumer.get_watermark_offsets(place)
            place.offset = low
            consumer.assign([place])
            while low < high:
                batch = consumer.consume(100, 1.0)
                found += batch
                low += len(batch)
    finally:
        consumer.close()
    return found


def outcomes(url: str) -> dict[str, int]:
    """What became of the records of `usage`, by outcome."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found: dict[str, int] = {}
    for labels, value in re.findall(r"^ebbtide_engine_records_total\{([^}]*)\} ([0-9.e+]+)$", text, re.MULTILINE):
        by = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if by.pop("topic") == "usage":
            (outcome,) = by.values()
            found[outcome] = found.get(outcome, 0) + int(float(value))
    return found


def test_every_kind_of_bad_record(clean_topics: LocalKafka, service_env: dict[str, str]) -> None:
    producer = Producer({"bootstrap.servers": clean_topics.bootstrap, "partitioner": "murmur2_random"})
    good = event(id="good")
    for value in (good, *BAD, good):  # the last one is a retry
        producer.produce("usage", value=value, key=b"acme")
    producer.flush()
    engine = start_service("engine", service_env)
    try:
        found = wait_for(
            "the dead letters", lambda: len(all_ := letters(clean_topics.bootstrap)) >= len(BAD) and all_, within=30
        )
        seen = {}
        for letter in found:
            headers = {name: value.decode() for name, value in letter.headers()}
            assert set(headers) >= set(HEADERS)
            assert headers["source_topic"] == "usage"
            assert letter.key() == b"acme"
            seen[letter.value()] = (headers["reason"], headers["field"])
        assert seen == BAD

        def conserved() -> bool:
            counts = outcomes(engine.url)
            wanted = {"applied": 1, "duplicate": 1, "dead": len(BAD)}
            return {name: counts.get(name) for name in wanted} == wanted

        wait_for("the counts to say the same", conserved, within=15, every=0.5)
    finally:
        engine.stop()
