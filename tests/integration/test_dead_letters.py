"""Dead letters listed and sent again, on a real broker and database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from click.testing import CliRunner, Result

from deploy.local.kafka import LocalKafka
from schemas.dead_letters import DEAD_LETTER_TOPIC
from services.cli.dead_letters import dead_letters
from services.common.dead_letters import Identity, letter
from services.common.kafka import end_offsets, partition_of
from services.common.settings import settings
from services.ingest import attribution, names
from services.ingest.names import Link
from tests.recorded import Stored


def test_an_identity_is_where_it_came_from_or_where_it_stands() -> None:
    assert Identity.parse("ingest/segment/0/17") == ("ingest/segment", 0, 17)
    for text in ("usage/1", "usage/x/1", "//1", "usage/1/-1"):
        with pytest.raises(ValueError, match=r"\S"):
            Identity.parse(text)
    stranger = letter(Stored(DEAD_LETTER_TOPIC, 2, 9, 0, None, None, (("reason", b"poison"),)))
    assert stranger.identity == (DEAD_LETTER_TOPIC, 2, 9)


def dead(reason: str, topic: str, partition: int, offset: int, key: bytes | None, value: bytes, **more: str) -> Any:
    headers = {"reason": reason, "field": "data.x", "detail": "mend it", "source_topic": topic} | more
    headers |= {"source_partition": str(partition), "source_offset": str(offset), "failed_at": "2026-05-01T00:00:00Z"}
    return {
        "topic": DEAD_LETTER_TOPIC,
        "key": key,
        "value": value,
        "headers": [(name, text.encode()) for name, text in headers.items()],
    }


def produce(kafka: LocalKafka, records: list[dict[str, Any]]) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
        await producer.start()
        for record in records:
            await producer.send_and_wait(**record)
        await producer.stop()

    asyncio.run(send())


def held(kafka: LocalKafka, topic: str) -> list[tuple[int, bytes | None, bytes]]:
    """Every record of a topic: partition, key, value."""

    async def read() -> list[tuple[int, bytes | None, bytes]]:
        ends = {place: end for place, end in (await end_offsets(kafka.bootstrap, [topic])).items() if end}
        found: list[tuple[int, bytes | None, bytes]] = []
        if not ends:
            return found
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False)
        await consumer.start()
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [(r.partition, r.key, r.value) for r in records]
        await consumer.stop()
        return found

    return asyncio.run(read())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, clean_topics: LocalKafka, migrated_database: str) -> Callable[..., Result]:
    monkeypatch.setenv("EBBTIDE_KAFKA_BOOTSTRAP_SERVERS", clean_topics.bootstrap)
    monkeypatch.setenv("EBBTIDE_DATABASE_URL", migrated_database)
    settings.cache_clear()

    def call(*arguments: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(dead_letters, list(arguments), input=answer)

    return call


def test_they_are_listed_and_go_back_once_with_bytes_and_key_untouched(
    run: Callable[..., Result], clean_topics: LocalKafka
) -> None:
    assert json.loads(run("list", "--json").stdout) == []
    bytes_ = b"\xff\x00 not an event"
    produce(
        clean_topics,
        [
            dead("malformed", "usage", 1, 5, b"acme", bytes_),
            dead("malformed", "usage", 1, 5, b"acme", bytes_),  # a crash wrote it twice
            dead("unknown_type", "tickets", 2, 8, b"birk", b'{"type":"x"}'),
            dead("malformed", "accounts", 3, 1, None, b"broadcast"),
        ],
    )
    listed = json.loads(run("list", "--json").stdout)
    assert {(e["id"], e["reason"], e["seen"], e["replayed"]) for e in listed} == {
        ("usage/1/5", "malformed", 2, None),
        ("tickets/2/8", "unknown_type", 1, None),
        ("accounts/3/1", "malformed", 1, None),
    }
    assert len(run("list", "--reason", "malformed", "--limit", "1").stdout.splitlines()) == 1

    assert run("replay").exit_code == 2
    assert run("replay", "--all", "--reason", "poison").exit_code == 2
    assert run("replay", "--id", "usage/1/99").exit_code == 1
    assert run("replay", "--id", "usage").exit_code == 2
    assert run("replay", "--all", answer="n\n").exit_code == 1
    assert held(clean_topics, "usage") == []

    done = json.loads(run("replay", "--reason", "malformed", "--yes", "--json").stdout)
    assert (done["sent"], done["left_out"]) == (2, 0)
    count = len(asyncio.run(end_offsets(clean_topics.bootstrap, ["usage"])))
    assert held(clean_topics, "usage") == [(partition_of(b"acme", count), b"acme", bytes_)]
    assert held(clean_topics, "accounts") == [(3, None, b"broadcast")]

    rest = run("replay", "--all", "--yes")
    assert "1 sent again, 2 left out" in rest.stdout
    assert "--again" in rest.stderr
    assert json.loads(run("replay", "--id", "usage/1/5", "--yes", "--json").stdout)["sent"] == 0
    assert len(held(clean_topics, "usage")) == 1
    assert json.loads(run("replay", "--id", "usage/1/5", "--yes", "--again", "--json").stdout)["sent"] == 1
    assert len(held(clean_topics, "usage")) == 2
    assert {e["id"]: e["replayed"] for e in json.loads(run("list", "--json").stdout)}["usage/1/5"] == 2


def test_a_call_to_ingest_becomes_an_event_once_its_account_is_known(
    run: Callable[..., Result], clean_topics: LocalKafka
) -> None:
    call = {"type": "track", "event": "Report Exported", "userId": "u1", "messageId": "m1"}
    call["timestamp"] = "2026-05-01T10:00:00Z"
    letter_ = dead(
        "unattributed",
        "ingest/segment",
        0,
        77,
        b"u1",
        json.dumps(call).encode(),
        ingest_kind="track",
        ingest_source="web",
        ingest_received_at="2026-05-01T10:00:01Z",
    )
    produce(clean_topics, [letter_])
    first = json.loads(run("replay", "--all", "--yes", "--json").stdout)
    assert (first["sent"], first["refused"]) == (0, 1)
    assert next(iter(first["why"])).startswith("unattributed")

    link = attribution.record(names.user("web", "u1"), Link("acme", 0, names.GROUP))
    produce(clean_topics, [{"topic": link.topic, "key": link.key, "value": link.value}])
    second = json.loads(run("replay", "--id", "ingest/segment/0/77", "--yes", "--json").stdout)
    assert (second["sent"], second["refused"]) == (1, 0)
    ((_, key, value),) = held(clean_topics, "usage")
    event = json.loads(value)
    assert (key, event["subject"], event["id"], event["type"]) == (b"acme", "acme", "m1", "usage.feature_used")
    assert json.loads(run("replay", "--all", "--yes", "--json").stdout)["left_out"] == 1
