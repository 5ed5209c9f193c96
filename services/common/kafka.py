"""Mechanism around the Kafka clients: where a key goes, a producer whose acknowledgement means kept, and offsets.

Nothing here knows a topic by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code

from services.common.settings import Settings

MAX_REQUEST_BYTES = 1024 * 1024
"""Largest record batch of the producers made here; the changelog's writer asks for more."""

ASKED_TIMES = 8
"""How often a question is put to brokers at random before none of them is said to answer."""

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C
_REMEMBERED_KEYS = 1 << 17


class BrokerUnreachable(Exception):
    """No broker answered. The message names the address and what to do."""

    def __init__(self, bootstrap: str, problem: object) -> None:
        super().__init__(
            f"no Kafka broker answers at {bootstrap} ({problem}); start the local one with `ebbtide up`, "
            "or set EBBTIDE_KAFKA_BOOTSTRAP_SERVERS to yours"
        )
        self.bootstrap = bootstrap


class UnknownTopic(Exception):
    """A topic that is needed does not exist."""

    def __init__(self, topics: Iterable[str]) -> None:
        super().__init__(f"no such topic: {', '.join(sorted(topics))}; make the topics with `ebbtide topics apply`")


@lru_cache(maxsize=_REMEMBERED_KEYS)
def murmur2(key: bytes) -> int:
    """Kafka's 32-bit hash of a key, as an unsigned number. Remembered, since the same accounts come again and again."""
    size = len(key)
    whole = size & ~3
    h = _SEED ^ size
    for start in range(0, whole, 4):
        k = int.from_bytes(key[start : start + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if whole != size:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key among `partitions`, as Java's default partitioner and aiokafka's choose it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


async def producer(settings: Settings, **overrides: Any) -> AIOKafkaProducer:
    """A started producer: a send is acknowledged once every in-sync replica has it, and a retry is written once.

    `overrides` go to aiokafka as they are. The caller stops it. Raises BrokerUnreachable.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "client_id": "ebbtide",
        "acks": "all",
        "enable_idempotence": True,
        # Long enough to fill batches under load, short against the second that an event has from ingest to signal.
        "linger_ms": 5,
        "max_batch_size": 256 * 1024,
        "max_request_size": MAX_REQUEST_BYTES,
        "request_timeout_ms": 15_000,
    }
    client = AIOKafkaProducer(**(options | overrides))
    try:
        await client.start()
    except (KafkaError, OSError, TimeoutError) as error:
        await client.stop()
        raise BrokerUnreachable(settings.bootstrap, error) from error
    except BaseException:
        await client.stop()
        raise
    return client


@asynccontextmanager
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client, closed at the end. Raises BrokerUnreachable."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="ebbtide", request_timeout_ms=30_000)
    try:
        try:
            await client.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerUnreachable(bootstrap, error) from error
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def reader(
    bootstrap: str, *topics: str, within_s: float = 5.0, **overrides: Any
) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer of every partition of `topics`, without group: it commits nothing and disturbs nobody.

    Raises BrokerUnreachable when none answers within `within_s`, and for what fails while it is read; UnknownTopic.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap,
        "client_id": "ebbtide",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
    }
    client = AIOKafkaConsumer(*topics, **(options | overrides))
    try:
        async with asyncio.timeout(within_s):
            await client.start()
        missing = set(topics) - {place.topic for place in client.assignment()}
        if missing:
            raise UnknownTopic(missing)
        yield client
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnreachable(bootstrap, error) from error
    finally:
        await client.stop()


async def committed(bootstrap: str, group: str) -> dict[TopicPartition, int]:
    """The positions that a group committed: the next offset of each partition it ever had. Raises BrokerUnreachable."""
    async with admin(bootstrap) as client:
        try:
            found = await client.list_consumer_group_offsets(group)
        except KafkaError as error:
            raise BrokerUnreachable(bootstrap, error) from error
    return {place: entry.offset for place, entry in found.items() if entry.offset >= 0}


async def partition_counts(bootstrap: str, topics: Iterable[str]) -> dict[str, int]:
    """Number of partitions of each of `topics`. Raises UnknownTopic naming all that are missing, BrokerUnreachable."""
    wanted = set(topics)
    found = {
        topic["topic"]: len(topic["partitions"])
        for topic in await _described(bootstrap)
        if topic["topic"] in wanted and not topic["error_code"]
    }
    if wanted - found.keys():
        raise UnknownTopic(wanted - found.keys())
    return found


async def _described(bootstrap: str) -> list[Any]:
    """Every topic as the brokers describe it."""
    problem: object = None
    async with admin(bootstrap) as client:
        # The admin client asks any broker of the cluster it was told of, also one that died just now.
        for attempt in range(ASKED_TIMES):
            try:
                return list(await client.describe_topics())
            except KafkaError as error:
                problem = error
                await asyncio.sleep(0.1 * attempt)
    raise BrokerUnreachable(bootstrap, problem)


async def end_offsets(bootstrap: str, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """For every partition of `topics`, the offset that its next record gets. Raises UnknownTopic, BrokerUnreachable."""
    counts = await partition_counts(bootstrap, topics)
    partitions = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, client_id="ebbtide", enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(partitions)
        found: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnreachable(bootstrap, error) from error
    finally:
        await consumer.stop()
    return found


def broker_error(code: int, message: str | None) -> str:
    """A broker's refusal in words."""
    return message or str(for_code(code).__doc__ or for_code(code).__name__)
