"""The demo on a real broker, with live events by the real SDK through ingest; and once per data folder."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.kafka import LocalKafka
from schemas.events import INPUT_TOPICS
from services.common.kafka import end_offsets
from services.common.settings import Settings
from services.demo import demo
from tests.harness import new_key, start_service, wait_for


@contextmanager
def running(config: Settings, told: list[str]) -> Iterator[None]:
    """The demo of five customers in a thread, as `ebbtide run` has it."""
    stop = threading.Event()
    problems: list[BaseException] = []

    def work() -> None:
        try:
            demo.run(config, told.append, stop, accounts=5, days=30)
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    assert not problems, problems


def live_events(config: Settings, since: dict[TopicPartition, int]) -> list[dict[str, object]]:
    """What was appended to `usage` past the offsets in `since`, without ticks."""

    async def read() -> list[dict[str, object]]:
        ends = await end_offsets(config.bootstrap, ["usage"])
        if not any(end > since[place] for place, end in ends.items()):
            return []
        consumer = AIOKafkaConsumer(bootstrap_servers=config.bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign(list(ends))
            for place in ends:
                consumer.seek(place, since[place])
            found = []
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    found.extend(json.loads(record.value) for record in records if record.key is not None)
            return found
        finally:
            await consumer.stop()

    return asyncio.run(read())


def test_history_once_then_live_events_through_ingest(clean_topics: LocalKafka, service_env: dict[str, str]) -> None:
    folder = Path(service_env["EBBTIDE_DATA_DIR"])
    folder.mkdir(parents=True)
    (folder / "keys.json").write_text(json.dumps({"write_key": new_key(service_env, "ingest", source="demo")}))
    config = Settings(
        kafka_bootstrap_servers=clean_topics.bootstrap,
        data_dir=folder,
        ingest_port=int(service_env["EBBTIDE_INGEST_PORT"]),
    )
    told: list[str] = []
    ingest = start_service("ingest", service_env)
    try:
        assert demo.pending(config)
        with running(config, told):
            wait_for("the history is in the topics", lambda: not demo.pending(config), within=90)
        before = asyncio.run(end_offsets(config.bootstrap, INPUT_TOPICS))

        with running(config, told):
            events = wait_for("live events", lambda: live_events(config, before), within=40, every=0.5)
        assert "the demo's history was replayed before" in told
        assert {str(event["subject"])[:5] for event in events} == {"acct-"}
        assert {event["source"] for event in events} == {"demo"}
    finally:
        ingest.stop()
