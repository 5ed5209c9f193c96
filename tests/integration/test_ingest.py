"""Ingest as a process on a real broker and database."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer

from tests.harness import Service, new_key, start_service

NOW = dt.datetime.now(dt.UTC)


def read_topic(bootstrap: str, topic: str) -> list[Any]:
    """Every record of a topic, by partition and offset."""

    async def read() -> list[Any]:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = consumer.assignment()
            ends = await consumer.end_offsets(partitions)
            await consumer.seek_to_beginning(*partitions)
            records: list[Any] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records += batch
            return sorted(records, key=lambda record: (record.partition, record.offset))
        finally:
            await consumer.stop()

    return asyncio.run(read())


def event(event_id: str, type_name: str = "usage.logged_in", subject: str = "acme", **data: Any) -> dict[str, Any]:
    """One structured CloudEvent, of now."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "test",
        "type": type_name,
        "subject": subject,
        "time": NOW.isoformat(),
        "data": data or {"user": "u1"},
    }


@pytest.fixture
def ingest(clean_topics: Any, service_env: dict[str, str]) -> Iterator[Service]:
    service = start_service("ingest", service_env)
    yield service
    service.stop()


def test_what_is_accepted_is_on_its_topic(ingest: Service, service_env: dict[str, str], kafka: Any) -> None:
    key = new_key(service_env, "ingest", source="web")
    bearer = {"authorization": f"Bearer {key}"}
    raw = json.dumps([event("e1"), event("e2", "ticket.opened", ticket_id="t1", priority="P1"), {"id": "e3", "type": "x"}])
    answer = httpx.post(
        f"{ingest.url}/v1/events", content=raw, headers=bearer | {"content-type": "application/cloudevents-batch+json"}
    )
    assert answer.status_code == 200, answer.text
    assert [(result["id"], result["status"], result["reason"]) for result in answer.json()["results"]] == [
        ("e1", "accepted", None),
        ("e2", "accepted", None),
        ("e3", "rejected", "unknown_type"),
    ]
    (usage,) = read_topic(kafka.bootstrap, "usage")
    assert usage.key == b"acme"
    assert usage.value == json.dumps(event("e1")).encode()
    (ticket,) = read_topic(kafka.bootstrap, "tickets")
    assert json.loads(ticket.value)["id"] == "e2"

    basic = {"authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}
    call = {"type": "track", "userId": "u1", "event": "Report Exported", "messageId": "m1", "context": {"groupId": "acme"}}
    answer = httpx.post(f"{ingest.url}/v1/batch", json={"batch": [call], "sentAt": NOW.isoformat()}, headers=basic)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert [json.loads(record.value)["id"] for record in read_topic(kafka.bootstrap, "usage")] == ["e1", "m1"]
