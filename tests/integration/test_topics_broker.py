"""`ebbtide topics` and the producer against the real broker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from click.testing import CliRunner, Result

from deploy.local.kafka import LocalKafka
from schemas.topics.registry import topics as registry
from services.cli.main import main
from services.common.kafka import BrokerUnreachable, UnknownTopic, admin, end_offsets, partition_of, producer
from services.common.settings import Settings, settings
from services.common.topics import apply, check
from tests.harness import free_ports

CONFIGURED = {"partitions": 3, "replication": 1, "app_id": "topics-test"}
CHANGELOG = "topics-test-state-changelog"


@pytest.fixture
def broker(kafka: LocalKafka) -> str:
    """A broker with no topic on it."""
    kafka.delete_all_topics()
    return kafka.bootstrap


async def overrides(bootstrap: str, topic: str) -> dict[str, str]:
    """Settings made on the topic itself."""
    async with admin(bootstrap) as client:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4] if entry[3] == 1}


async def make(bootstrap: str, name: str, partitions: int, **configs: str) -> None:
    async with admin(bootstrap) as client:
        settings = {key.replace("_", "."): value for key, value in configs.items()}
        await client.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
        for _ in range(500):
            if name in await client.list_topics():
                return
            await asyncio.sleep(0.02)
    raise AssertionError(f"{name} does not show")


async def test_apply_makes_what_the_files_say(broker: str) -> None:
    assert {change.action for change in (await check(broker, **CONFIGURED)).changes} == {"create"}
    report = await apply(broker, **CONFIGURED)
    assert {change.topic for change in report.changes} == set(registry("topics-test"))
    assert not report.differences
    assert (await check(broker, **CONFIGURED)).unchanged
    assert (await apply(broker, **CONFIGURED)).unchanged
    for name, topic in registry("topics-test").items():
        assert await overrides(broker, name) == topic.settings(1)


async def test_apply_twice_at_once(broker: str) -> None:
    await asyncio.gather(apply(broker, **CONFIGURED), apply(broker, **CONFIGURED))
    assert (await check(broker, **CONFIGURED)).unchanged


async def test_settings_are_raised_and_nothing_else_is_touched(broker: str) -> None:
    await make(broker, "usage", 3, retention_ms="1000", compression_type="zstd")
    await make(broker, "tickets", 3, retention_ms="-1")
    report = await apply(broker, **CONFIGURED)
    assert ("usage", "retention.ms", "1000") in {(c.topic, c.setting, c.before) for c in report.changes}
    assert (await overrides(broker, "usage"))["retention.ms"] == "34560000000"
    assert (await overrides(broker, "usage"))["compression.type"] == "zstd"
    assert (await overrides(broker, "tickets"))["retention.ms"] == "-1"
    assert (await check(broker, **CONFIGURED)).unchanged


async def test_unequal_inputs_are_refused_and_nothing_is_made(broker: str) -> None:
    await make(broker, "usage", 3)
    await make(broker, "tickets", 5)
    report = await apply(broker, **CONFIGURED)
    assert report.refused is not None
    assert "tickets 5, usage 3" in report.refused
    async with admin(broker) as client:
        assert {name for name in await client.list_topics() if not name.startswith("__")} == {"usage", "tickets"}


async def test_another_partition_count_is_reported(broker: str) -> None:
    await apply(broker, **CONFIGURED)
    report = await apply(broker, **(CONFIGURED | {"partitions": 6}))
    assert report.changes == []
    assert {(d.found, d.wanted) for d in report.differences} == {("3", "6")}


async def test_sends_go_where_partition_of_says_and_the_broker_stamps_them(broker: str) -> None:
    await apply(broker, **CONFIGURED)
    configuration = Settings(kafka_bootstrap_servers=broker)  # type: ignore[call-arg]
    client = await producer(configuration)
    try:
        for number in range(20):
            key = f"account {number}".encode()
            sent = await client.send_and_wait("usage", b"{}", key=key, timestamp_ms=1)
            assert sent.partition == partition_of(key, 3)
    finally:
        await client.stop()
    ends = await end_offsets(broker, ["usage", "attribution"])
    assert len(ends) == 4
    assert sum(ends.values()) == 20
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = next(tp for tp, end in ends.items() if end)
        consumer.assign([TopicPartition(partition.topic, partition.partition)])
        record = await asyncio.wait_for(consumer.getone(), 10)
        assert record.timestamp > 1_000_000_000_000  # LogAppendTime, not the producer's
    finally:
        await consumer.stop()


async def test_missing_topic_and_broker_are_named(broker: str) -> None:
    with pytest.raises(UnknownTopic, match=r"usage.*ebbtide topics apply"):
        await end_offsets(broker, ["usage"])
    (port,) = free_ports(1)
    nowhere = f"127.0.0.1:{port}"
    with pytest.raises(BrokerUnreachable, match=f"{nowhere}.*ebbtide up"):
        await check(nowhere, **CONFIGURED)
    with pytest.raises(BrokerUnreachable, match=nowhere):
        await producer(Settings(kafka_bootstrap_servers=nowhere))  # type: ignore[call-arg]


def ebbtide(monkeypatch: pytest.MonkeyPatch, bootstrap: str, *arguments: str, **variables: Any) -> Result:
    monkeypatch.setenv("EBBTIDE_KAFKA_BOOTSTRAP_SERVERS", bootstrap)
    for name, value in variables.items():
        monkeypatch.setenv(f"EBBTIDE_{name}", str(value))
    settings.cache_clear()
    try:
        return CliRunner().invoke(main, ["topics", *arguments])
    finally:
        settings.cache_clear()


def test_command_line(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dry = ebbtide(monkeypatch, broker, "apply", "--dry-run", "--json")
    assert dry.exit_code == 0
    assert len(json.loads(dry.stdout)["changes"]) == 11
    assert ebbtide(monkeypatch, broker, "check").exit_code == 1
    assert ebbtide(monkeypatch, broker, "apply").exit_code == 0
    good = ebbtide(monkeypatch, broker, "check")
    assert (good.exit_code, good.stdout) == (0, "every topic is as configured\n")
    other = ebbtide(monkeypatch, broker, "check", TOPIC_PARTITIONS=9)
    assert other.exit_code == 1
    assert "usage: partitions is 4, wanted 9" in other.stderr
    refused = ebbtide(monkeypatch, broker, "apply", TOPIC_PARTITIONS=9, ENGINE_APP_ID="another")
    assert refused.exit_code == 1
    assert "refused: to be made: another-state-changelog" in refused.stderr
    none = ebbtide(monkeypatch, f"127.0.0.1:{free_ports(1)[0]}", "check")
    assert none.exit_code == 1
    assert "no Kafka broker answers" in none.stderr
