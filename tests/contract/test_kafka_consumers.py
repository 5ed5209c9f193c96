"""Another team's consumer: it knows the broker and the published schemas, and nothing of our code."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import jsonschema
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from deploy.local.kafka import LocalKafka
from tests.harness import ROOT, start_service

PUBLISHED = ROOT / "schemas" / "generated"
TOPICS = ("signals.risk", "signals.opportunity", "health", "dead-letters")
WITHIN_S = 60.0

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(minutes=5)
ACCOUNT = "Müller & Söhne"

STORY: list[tuple[str, str, dict[str, Any]]] = [
    ("accounts", "account.updated", {"name": "Müller", "tier": "high", "mrr": "1200.50", "currency": "EUR"}),
    ("engagement", "survey.answered", {"survey_id": "s1", "kind": "nps", "score": 3, "user": "ann"}),
    ("engagement", "survey.answered", {"survey_id": "s2", "kind": "nps", "score": 10, "user": "ann"}),
    ("engagement", "evaluation.announced", {"rival": "Ripple"}),
    ("accounts", "account.updated", {"stage": "pilot", "pilot": {"start": NOW.date().isoformat(), "paid": True}}),
    ("accounts", "account.updated", {"pilot": {"start": "2026-01-01", "end": "2026-02-01", "paid": True}}),
]
REFUSED: list[tuple[str, bytes, str, str]] = [
    ("tickets", b"not json", "malformed", ""),
    ("accounts", json.dumps({"type": "account.renamed"}).encode(), "unknown_type", "type"),
]


class Read(NamedTuple):
    """A record as the consumer has it."""

    topic: str
    key: str | None
    value: bytes
    headers: dict[str, str]


def event(number: int, type_: str, data: dict[str, Any]) -> bytes:
    at = NOW + dt.timedelta(seconds=number)
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": "crm",
            "type": type_,
            "subject": ACCOUNT,
            "time": at.isoformat(),
            "data": data,
        }
    ).encode()


def schema(name: str) -> Any:
    return json.loads((PUBLISHED / f"{name}.schema.json").read_text())


def check(record: Read) -> Any:
    """What a consumer does with each record: the value it may go by. Raises jsonschema.ValidationError, or AssertionError."""
    if record.topic == "dead-letters":
        validate(record.headers, schema("dead-letters"))
        return record.headers
    value = json.loads(record.value)
    if record.topic == "health":
        validate(value, schema("health"))
        assert value["account_id"] == record.key
        return value
    validate(value, schema(value["type"]))
    assert value["subject"] == record.key
    assert value["data"]["kind"] == record.topic.removeprefix("signals.")
    assert record.headers.keys() == {"sequence"}
    assert record.headers["sequence"].isdigit()
    return value


FORMATS = jsonschema.FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def is_instant(value: object) -> bool:
    return not isinstance(value, str) or dt.datetime.fromisoformat(value).tzinfo is not None


def validate(value: Any, against: Any) -> None:
    jsonschema.Draft202012Validator(against, format_checker=FORMATS).validate(value)


@pytest.fixture
def sent(clean_topics: LocalKafka, service_env: dict[str, str]) -> Iterator[dict[str, list[Read]]]:
    """What the engine said of the story, and of what it could not use, by topic."""
    producer = Producer({"bootstrap.servers": clean_topics.bootstrap, "partitioner": "murmur2_random"})
    for number, (topic, type_, data) in enumerate(STORY):
        # One after the other, as somebody would do these things: equal times have no order across topics.
        producer.produce(topic, event(number, type_, data), ACCOUNT.encode())
    for topic, value, _, _ in REFUSED:
        producer.produce(topic, value, ACCOUNT.encode())
    assert producer.flush(20) == 0
    engine = start_service("engine", service_env | {"EBBTIDE_ENGINE_STORE": "memory"}, ready=False)
    try:
        yield read(clean_topics.bootstrap)
    finally:
        assert engine.stop() == 0, engine.tail()


def read(bootstrap: str) -> dict[str, list[Read]]:
    """Every record of the topics that are for others, once the story is told to its end."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "another-team", "enable.auto.commit": False})
    found: dict[str, list[Read]] = defaultdict(list)
    try:
        partitions = {topic: consumer.list_topics(topic, 20).topics[topic].partitions for topic in TOPICS}
        consumer.assign([TopicPartition(topic, number, 0) for topic in TOPICS for number in partitions[topic]])
        deadline = time.monotonic() + WITHIN_S
        while not told(found):
            assert time.monotonic() < deadline, {topic: len(records) for topic, records in found.items()}
            message = consumer.poll(0.2)
            if message is None:
                continue
            assert message.error() is None
            key, value, topic = message.key(), message.value(), message.topic()
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            headers = {name: (text or b"").decode() for name, text in message.headers() or []}
            found[str(topic)].append(Read(str(topic), key.decode(), value, headers))
    finally:
        consumer.close()
    return found


def told(found: dict[str, list[Read]]) -> bool:
    """Whether the last change was said, and what the account comes to after it."""
    last = [record for record in found["signals.risk"] if b'"signal.escalated"' in record.value]
    known = [json.loads(record.value)["sequence"] for record in found["health"]]
    return (
        len(found["dead-letters"]) == len(REFUSED)
        and len(found["signals.opportunity"]) > 0
        and any(max(known, default=-1) >= int(record.headers["sequence"]) for record in last)
    )


def test_every_record_is_as_published(sent: dict[str, list[Read]], clean_topics: LocalKafka) -> None:
    values = {topic: [check(record) for record in records] for topic, records in sent.items()}
    risks = [(v["data"]["signal"], v["type"], v["data"]["severity"]) for v in values["signals.risk"]]
    assert {
        ("survey.detractor", "signal.raised", "warning"),
        ("survey.detractor", "signal.cleared", "warning"),
        ("relationship.evaluation", "signal.raised", "warning"),
        ("pilot.unready", "signal.raised", "info"),
        ("pilot.unready", "signal.escalated", "warning"),
    } <= set(risks)
    opportunities = [(v["data"]["signal"], v["type"]) for v in values["signals.opportunity"]]
    assert ("advocacy.promoter", "signal.raised") in opportunities
    # What is open is what the latest record of the account's health says is open.
    still_open = {v["data"]["episode_id"] for v in (*values["signals.risk"], *values["signals.opportunity"])}
    still_open -= {v["data"]["episode_id"] for v in values["signals.risk"] if v["type"] == "signal.cleared"}
    latest = max(values["health"], key=lambda value: value["sequence"])
    assert {episode["episode_id"] for episode in latest["open_episodes"]} == still_open
    refused = {
        (record.headers["source_topic"], record.value, record.headers["reason"], record.headers["field"])
        for record in sent["dead-letters"]
    }
    assert refused == set(REFUSED)

    changes = [record for topic in ("signals.risk", "signals.opportunity") for record in sent[topic]]
    expected = Counter(
        f"{v['type']} {v['subject']} {v['data']['reason']}"
        for v in map(json.loads, (record.value for record in changes))
    )
    assert Counter(printed_by_the_pages_program(clean_topics.bootstrap, len(changes))) == expected

    good = next(record for record in sent["signals.risk"] if b"signal.raised" in record.value)
    for bad in spoiled(good):
        with pytest.raises((jsonschema.ValidationError, AssertionError)):
            check(bad)


def printed_by_the_pages_program(bootstrap: str, lines: int) -> list[str]:
    """The first lines that the consumer of docs/streams.md prints."""
    (code,) = (
        code
        for code in re.findall(
            r"^```python\n(.*?)^```", (ROOT / "docs" / "streams.md").read_text(), re.DOTALL | re.MULTILINE
        )
        if "confluent_kafka" in code
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": bootstrap},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        watch = threading.Timer(WITHIN_S, process.kill)
        watch.start()
        found = [line.strip() for line in itertools.islice(process.stdout, lines)]
        watch.cancel()
        process.kill()
    return found


def spoiled(good: Read) -> Iterator[Read]:
    """A record in which one thing is not as published."""
    value = json.loads(good.value)
    data = value["data"]
    for wrong in (
        {**value, "data": {name: data[name] for name in data if name != "episode_id"}},
        {**value, "data": {**data, "severity": "fatal"}},
        {**value, "data": {**data, "evidence": [{}]}},
        {**value, "data": {**data, "pages": "no"}},
        {**value, "time": "yesterday"},
        {**value, "subject": "somebody else"},
    ):
        yield good._replace(value=json.dumps(wrong).encode())
    yield good._replace(topic="signals.opportunity")
    yield good._replace(headers={})
