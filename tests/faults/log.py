"""What the topics hold, as plain records: the only thing that a verdict is made of."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import Consumer, Message, TopicPartition

TICKS_AND_EVENTS = ("usage", "tickets", "invoices", "accounts", "engagement")
SIGNALS = ("signals.risk", "signals.opportunity")
HEALTH = "health"
DEAD_LETTERS = "dead-letters"

QUIET = {
    "enable.auto.commit": False,
    "fetch.wait.max.ms": 10,
    "log_level": 0,  # brokers go and come back here
}


class Stored(NamedTuple):
    """One record of a topic. `appended` is its timestamp in milliseconds."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    appended: int

    @classmethod
    def of(cls, message: Message) -> Stored:
        """A consumed message."""
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        headers = {name: value if isinstance(value, bytes) else b"" for name, value in message.headers() or ()}
        key, value = message.key(), message.value()
        assert not isinstance(key, str)
        assert not isinstance(value, str)
        return cls(topic, partition, offset, key, value, headers, message.timestamp()[1])


@dataclass
class Log:
    """Every record of every topic the engine reads or writes, by partition and offset."""

    inputs: list[Stored] = field(default_factory=list)
    changelog: list[Stored] = field(default_factory=list)
    signals: list[Stored] = field(default_factory=list)
    health: list[Stored] = field(default_factory=list)
    dead_letters: list[Stored] = field(default_factory=list)


def changelog_of(app_id: str) -> str:
    """The topic that holds the engine's state."""
    return f"{app_id}-state-changelog"


def read(bootstrap: str, topics: Sequence[str]) -> list[Stored]:
    """Everything on these topics as it stands now."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, **QUIET})
    try:
        found: list[Stored] = []
        for topic in topics:
            for number in sorted(consumer.list_topics(topic, timeout=20).topics[topic].partitions):
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
                if high <= low:
                    continue
                consumer.assign([TopicPartition(topic, number, low)])
                while low < high:
                    for message in consumer.consume(min(10_000, high - low), timeout=1.0):
                        assert message.error() is None, message.error()
                        found.append(Stored.of(message))
                        low = found[-1].offset + 1
        return found
    finally:
        consumer.close()


def read_all(bootstrap: str, app_id: str) -> Log:
    """The whole log of one engine application."""
    return Log(
        inputs=read(bootstrap, TICKS_AND_EVENTS),
        changelog=read(bootstrap, [changelog_of(app_id)]),
        signals=read(bootstrap, SIGNALS),
        health=read(bootstrap, [HEALTH]),
        dead_letters=read(bootstrap, [DEAD_LETTERS]),
    )


class Tail:
    """Reads topics from their beginning while faults happen, in a thread of its own; a broker may go away meanwhile."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        self.records: list[Stored] = []
        self._bootstrap = bootstrap
        self._topics = topics
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": uuid.uuid4().hex, **QUIET})
        try:
            consumer.assign(
                [
                    TopicPartition(topic, number, 0)
                    for topic in self._topics
                    for number in consumer.list_topics(topic, timeout=20).topics[topic].partitions
                ]
            )
            while not self._enough.is_set():
                for message in consumer.consume(1000, timeout=0.2):
                    if message.error() is None:
                        self.records.append(Stored.of(message))
                time.sleep(0.02)
        finally:
            consumer.close()

    def stop(self) -> None:
        """Read no more."""
        self._enough.set()
        self._thread.join()
