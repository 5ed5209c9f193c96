"""Dead letters newest first, read from the topic's end backwards: what is asked for costs what it shows, not what is held.

A flood of a million letters is read as fast as one of a hundred. Every reading is bounded in letters, bytes and seconds.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from schemas.dead_letters import DEAD_LETTER_TOPIC
from services.common.dead_letters import Identity, Letter, letter

CHUNK: Final = 250
FETCH_MS: Final = 500
FETCH_BYTES: Final = 256 * 1024
"""What a broker sends of one partition at a time: more than a chunk of usual letters would be read for nothing."""


class Wanted(Struct, frozen=True, kw_only=True):
    """Which letters. `since` is included, `until` is not; both mean when the letter was written."""

    reason: str | None = None
    topic: str | None = None
    source: str | None = None
    field: str | None = None
    key: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None

    def takes(self, found: Letter) -> bool:
        """Whether a letter is one of these, whenever it was written."""
        return (
            self.reason in (None, found.reason)
            and self.topic in (None, found.identity.topic)
            and self.field in (None, found.field)
            and (self.key is None or found.key == self.key.encode())
            and self.source in (None, found.source)  # last: it may have to look into the bytes
        )


class Budget(Struct, frozen=True):
    """How much one reading may cost."""

    letters: int = 20_000
    bytes: int = 64 * 1024 * 1024
    seconds: float = 3.0


class Standing(Struct, frozen=True):
    """A letter and where it stands in the topic. `at` is when the broker took it."""

    letter: Letter
    place: Identity
    at: dt.datetime


class Backwards:
    """The letters before some offsets, newest first over all partitions."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        before: dict[int, int],
        first: dict[int, int],
        budget: Budget,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`before` and `first` are offsets by partition; the consumer has the partitions of the topic, all paused."""
        self._consumer = consumer
        self._first = first
        self._budget = budget
        self._clock = clock
        self._began = clock()
        self._low = dict(before)
        self._held: dict[int, list[Any]] = {partition: [] for partition in before}
        self._bytes = 0
        self.before = dict(before)
        """Which offsets are still before what was handed over: where the next page begins."""
        self.read = 0
        self.oldest: dt.datetime | None = None
        """When the last of what was handed over was written."""

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing older."""
        return all(offset <= self._first[partition] for partition, offset in self.before.items())

    async def next(self) -> Standing | None:
        """The next older letter. None when there is none, or when the budget is spent (then `exhausted` is false)."""
        budget = self._budget
        if self.read >= budget.letters or self._bytes >= budget.bytes:
            return None
        due = [p for p, held in self._held.items() if not held and self._low[p] > self._first[p]]
        if due:
            if self._clock() - self._began >= budget.seconds:
                return None
            await self._load(due)
        heads = [(held[-1].timestamp, partition) for partition, held in self._held.items() if held]
        if not heads:
            for partition, offset in self._first.items():
                self.before[partition] = offset
            return None
        partition = max(heads)[1]
        record = self._held[partition].pop()
        self.before[partition] = record.offset
        self.read += 1
        self._bytes += len(record.value or b"")
        found = standing(record)
        self.oldest = found.at
        return found

    async def _load(self, partitions: list[int]) -> None:
        wanted = {TopicPartition(DEAD_LETTER_TOPIC, partition): self._low[partition] for partition in partitions}
        for place, end in wanted.items():
            start = max(self._first[place.partition], end - CHUNK)
            self._consumer.seek(place, start)
            self._low[place.partition] = start
        self._consumer.resume(*wanted)
        try:
            while waiting := [place for place, end in wanted.items() if await self._consumer.position(place) < end]:
                batches = await self._consumer.getmany(*waiting, timeout_ms=FETCH_MS)
                for place, records in batches.items():
                    self._held[place.partition] += [record for record in records if record.offset < wanted[place]]
                if not batches and self._clock() - self._began >= self._budget.seconds:
                    raise TimeoutError("the broker sent nothing of what it holds")
        finally:
            self._consumer.pause(*wanted)


def standing(record: Any) -> Standing:
    """The letter in a record of the topic, and where it stands."""
    place = Identity(record.topic, record.partition, record.offset)
    return Standing(letter(record), place, dt.datetime.fromtimestamp(record.timestamp / 1000, dt.UTC))


async def bounds(consumer: AIOKafkaConsumer, wanted: Wanted) -> tuple[dict[int, int], dict[int, int]]:
    """Between which offsets the wanted letters stand, by partition: the first, and the one after the last."""
    places = sorted(consumer.assignment())
    first = await consumer.beginning_offsets(places)
    after = await consumer.end_offsets(places)
    if wanted.since is not None:
        # No offset: everything there is was written before.
        first |= {p: found or after[p] for p, found in (await _at(consumer, places, wanted.since)).items()}
    if wanted.until is not None:
        after |= {
            p: after[p] if found is None else found for p, found in (await _at(consumer, places, wanted.until)).items()
        }
    return {p.partition: first[p] for p in places}, {p.partition: max(after[p], first[p]) for p in places}


async def _at(
    consumer: AIOKafkaConsumer, places: list[TopicPartition], instant: dt.datetime
) -> dict[TopicPartition, int | None]:
    milliseconds = max(0, math.ceil(instant.timestamp() * 1000))
    found = await consumer.offsets_for_times(dict.fromkeys(places, milliseconds))
    return {place: None if entry is None else entry.offset for place, entry in found.items()}
