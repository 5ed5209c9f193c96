"""Dead letters as they are read back: each once by its identity, and whether it was sent again before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct
from sqlalchemy import func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.db.tables import DeadLetterReplay
from schemas.dead_letters import DEAD_LETTER_TOPIC, HEADERS
from services.common.kafka import BrokerUnreachable, end_offsets

READ_WITHIN_MS = 1000


INGEST_SOURCE: Final = "ingest_source"
"""The header in which ingest says whose write key a call came with."""


class _Sender(Struct):
    source: str = ""


_SENDER: Final = msgspec.json.Decoder(_Sender)


class Identity(NamedTuple):
    """Which record it was: where it came from, or, where no header says that, where the dead letter stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Identity:
        """The identity written as `topic/partition/offset`. Raises ValueError."""
        topic, partition, offset = text.rsplit("/", 2)
        if not topic.strip("/") or not (partition.isdecimal() and offset.isdecimal()):
            raise ValueError(text)
        return cls(topic, int(partition), int(offset))


class Letter(Struct, frozen=True):
    """One dead letter. `seen` counts how often it was written: a crash or a client's retry repeats it."""

    identity: Identity
    key: bytes | None
    value: bytes
    headers: dict[str, str]
    seen: int = 1

    @property
    def reason(self) -> str:
        """Why it was refused."""
        return self.headers.get("reason", "")

    @property
    def field(self) -> str:
        """The member at fault, empty where the whole record is meant."""
        return self.headers.get("field", "")

    @property
    def source(self) -> str:
        """Who sent it, empty where that cannot be told: what ingest's write key says, else the event itself."""
        told = self.headers.get(INGEST_SOURCE)
        if told is not None:
            return told
        try:
            return _SENDER.decode(self.value).source
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return ""


def letter(record: Any) -> Letter:
    """The dead letter in a record of the topic."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    try:
        place = Identity.parse("/".join(headers[name] for name in HEADERS[3:6]))
    except (KeyError, ValueError):
        place = Identity(record.topic, record.partition, record.offset)
    return Letter(place, record.key, record.value or b"", headers)


async def read(bootstrap: str) -> list[Letter]:
    """Every dead letter that is held now, oldest first, each identity once (its latest word). Raises BrokerUnreachable."""
    ends = {place: end for place, end in (await end_offsets(bootstrap, [DEAD_LETTER_TOPIC])).items() if end}
    if not ends:
        return []
    found: dict[Identity, tuple[int, Letter]] = {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, client_id="ebbtide", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        while waiting := [place for place, end in ends.items() if await consumer.position(place) < end]:
            for records in (await consumer.getmany(*waiting, timeout_ms=READ_WITHIN_MS)).values():
                for record in records:
                    _add(found, record, ends)
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnreachable(bootstrap, error) from error
    finally:
        await consumer.stop()
    return [item for _, item in sorted(found.values(), key=lambda entry: entry[0])]


def _add(found: dict[Identity, tuple[int, Letter]], record: Any, ends: dict[TopicPartition, int]) -> None:
    if record.offset >= ends[TopicPartition(record.topic, record.partition)]:
        return  # it came while this was read; the next reading shows it
    new = letter(record)
    known = found.get(new.identity)
    seen = 1 if known is None else known[1].seen + 1
    found[new.identity] = (record.timestamp, Letter(new.identity, new.key, new.value, new.headers, seen))


# --- what was sent again -------------------------------------------------------------------------------------------


async def replays(engine: AsyncEngine) -> dict[Identity, int]:
    """How often each was sent again. 0: that was begun, and nobody knows whether it arrived."""
    statement = select(
        DeadLetterReplay.topic, DeadLetterReplay.partition, DeadLetterReplay.offset, DeadLetterReplay.times
    )
    async with engine.connect() as connection:
        rows = await connection.execute(statement)
        return {Identity(topic, partition, offset): times for topic, partition, offset, times in rows}


async def replays_of(engine: AsyncEngine, identities: Sequence[Identity]) -> dict[Identity, int]:
    """How often each of these was sent again, as `replays` tells it."""
    place = tuple_(DeadLetterReplay.topic, DeadLetterReplay.partition, DeadLetterReplay.offset)
    statement = select(
        DeadLetterReplay.topic, DeadLetterReplay.partition, DeadLetterReplay.offset, DeadLetterReplay.times
    ).where(place.in_(identities))
    async with engine.connect() as connection:
        rows = await connection.execute(statement)
        return {Identity(topic, partition, offset): times for topic, partition, offset, times in rows}


async def lock_redeeming(connection: Any) -> bool:
    """Become the one process that sends letters again by itself, until this connection ends. False while another is it."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended('ebbtide dead letters', 0))"))


async def begin(engine: AsyncEngine, identities: Sequence[Identity]) -> None:
    """Write down that these are about to be sent, before the first is."""
    values = [item._asdict() | {"times": 0} for item in identities]
    async with engine.begin() as connection:
        await connection.execute(insert(DeadLetterReplay).on_conflict_do_nothing(), values)


async def claim(engine: AsyncEngine, identities: Sequence[Identity]) -> set[Identity]:
    """`begin` for those that were never sent: returns which, so that of two who try at once only one sends each."""
    if not identities:
        return set()
    statement = (
        insert(DeadLetterReplay)
        .on_conflict_do_nothing()
        .returning(DeadLetterReplay.topic, DeadLetterReplay.partition, DeadLetterReplay.offset)
    )
    async with engine.begin() as connection:
        rows = await connection.execute(statement, [item._asdict() | {"times": 0} for item in identities])
        return {Identity(*row) for row in rows}


async def finish(engine: AsyncEngine, identities: Iterable[Identity]) -> None:
    """Write down that these were sent and acknowledged."""
    async with engine.begin() as connection:
        for item in identities:
            await connection.execute(
                update(DeadLetterReplay)
                .where(
                    DeadLetterReplay.topic == item.topic,
                    DeadLetterReplay.partition == item.partition,
                    DeadLetterReplay.offset == item.offset,
                )
                .values(times=DeadLetterReplay.times + 1, replayed_at=func.now())
            )
