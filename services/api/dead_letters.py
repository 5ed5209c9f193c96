"""Dead letters as the api reads and replays them: bounded in time and bytes, whatever there is."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.dead_letters import DEAD_LETTER_TOPIC
from schemas.events import INPUT_TOPICS
from services.api.database import answering
from services.common import dead_letters, kafka
from services.common.dead_letter_pages import Backwards, Budget, Standing, Wanted, bounds, standing
from services.common.dead_letter_replay import Done, Prepare, send_again
from services.common.dead_letters import Identity, Letter
from services.common.kafka import BrokerUnreachable, UnknownTopic
from services.common.problems import unavailable
from services.common.settings import Settings

REPLAYED_AT_ONCE: Final = 1000
SAMPLE: Final = 5
LOOKED_UP_AT_ONCE: Final = 200
READERS: Final = 3
TURN_WITHIN_S: Final = 5.0
FRESH_S: Final = 10.0
GROUPS_SHOWN: Final = 200
APPLIED_WITHIN_S: Final = 8.0
APPLIED_EVERY_S: Final = 0.4


class Group(Struct, frozen=True):
    """Letters of one reason, source and field."""

    reason: str
    source: str
    field: str
    topic: str
    count: int
    first_at: dt.datetime
    last_at: dt.datetime


class Groups(Struct, frozen=True):
    """The groups of the newest `counted` of `held` letters, most first; `since` is when the oldest counted was written."""

    groups: list[Group]
    counted: int
    held: int
    since: dt.datetime | None
    read_at: dt.datetime


class Found(Struct, frozen=True):
    """A page of letters, newest first, each identity once. `before`: where the next begins, None where this is the last.

    `read` letters were looked at for it, the oldest of them written at `since`.
    """

    letters: list[Standing]
    sent: dict[Identity, int]
    before: dict[int, int] | None
    read: int
    since: dt.datetime | None

    def chosen(self) -> Chosen:
        """What a replay would send, where the page is all that one reading reaches."""
        left = [one for one in self.letters if one.letter.identity not in self.sent]
        unsure = sum(1 for times in self.sent.values() if times == 0)
        return Chosen(left, len(self.sent), unsure, self.before)


class Chosen(Struct, frozen=True):
    """What a replay would send: letters newest first. `left_out` were sent before, `unsure` of them without confirmation."""

    letters: list[Standing]
    left_out: int
    unsure: int
    before: dict[int, int] | None


class Replayed(Struct, frozen=True):
    """What became of a replay; every letter sent is one of `fixed`, `failed_again` and `waiting`."""

    done: Done
    fixed: int
    failed_again: int
    waiting: int


class DeadLetters:
    """Reads the topic on request. Raises Problem 503 where the broker does not answer."""

    def __init__(self, settings: Settings, engine: AsyncEngine, prepare: Prepare) -> None:
        self._settings = settings
        self._engine = engine
        self._prepare = prepare
        self._turn = asyncio.Semaphore(READERS)
        self._known: tuple[float, dict[int, int], Groups] | None = None
        self._counting = asyncio.Lock()

    async def page(self, wanted: Wanted, limit: int, before: dict[int, int] | None) -> Found:
        """Letters that are `wanted`. A page may be short where few of many match: the next goes on from there."""
        found: dict[Identity, Standing] = {}
        async with self._reading(wanted, before) as reading:
            while len(found) < limit and (one := await reading.next()) is not None:
                if wanted.takes(one.letter):
                    found.setdefault(one.letter.identity, one)
        sent = await self._sent(found)
        before = None if reading.exhausted else reading.before
        return Found(list(found.values()), sent, before, reading.read, reading.oldest)

    async def one(self, identity: Identity) -> Standing | None:
        """The letter with this identity, or that stands there, among the newest: as many as one reading reaches."""
        if identity.topic == DEAD_LETTER_TOPIC:
            return await self._at(identity)
        async with self._reading(Wanted(topic=identity.topic), None) as reading:
            while (found := await reading.next()) is not None:
                if found.letter.identity == identity:
                    return found
        return None

    async def groups(self) -> Groups:
        """The newest letters counted by reason, source and field. Counted anew at most every few seconds."""
        async with self._counting:
            if self._known is not None and time.monotonic() < self._known[0]:
                return self._known[2]
            async with self._consumer() as consumer:
                first, after = await bounds(consumer, Wanted())
                if self._known is None or self._known[1] != after:
                    counted = await _counted(Backwards(consumer, after, first, Budget()), first, after)
                else:
                    counted = self._known[2]
            self._known = (time.monotonic() + FRESH_S, after, counted)
            return counted

    async def choose(self, wanted: Wanted, before: dict[int, int] | None, *, again: bool) -> Chosen:
        """The letters that a replay of all `wanted` sends: at most `REPLAYED_AT_ONCE`."""
        chosen: dict[Identity, Standing] = {}
        left_out = unsure = 0
        async with self._reading(wanted, before) as reading:
            while len(chosen) < REPLAYED_AT_ONCE:
                some = await _some(reading, wanted, min(LOOKED_UP_AT_ONCE, REPLAYED_AT_ONCE - len(chosen)))
                if not some:
                    break
                sent = await self._sent(some)
                left_out += 0 if again else len(sent)
                unsure += sum(1 for times in sent.values() if times == 0)
                chosen |= {i: one for i, one in some.items() if i not in chosen and (again or i not in sent)}
        return Chosen(list(chosen.values()), left_out, unsure, None if reading.exhausted else reading.before)

    async def choose_one(self, identity: Identity, *, again: bool) -> Chosen | None:
        """The same for one letter. None where it is not found."""
        found = await self.one(identity)
        if found is None:
            return None
        sent = await self._sent([found.letter.identity])
        if sent and not again:
            return Chosen([], 1, sum(1 for times in sent.values() if times == 0), None)
        return Chosen([found], 0, 0, None)

    async def replay(self, letters: Sequence[Letter], *, again: bool) -> Replayed:
        """Send `letters` again, oldest first, and wait a while for what the engine makes of them."""
        async with self._consumer() as consumer:
            marks = await consumer.end_offsets(sorted(consumer.assignment()))
        try:
            with answering():
                done = await send_again(self._settings, self._engine, letters, self._prepare, again=again)
        except BrokerUnreachable as error:
            raise unavailable(str(error)) from error
        except KafkaError as error:
            raise unavailable(f"Kafka refused: {error}; what was sent is not confirmed: the list shows it") from error
        records = {place for where in done.sent.values() for place in where if place.topic in INPUT_TOPICS}
        passed = await self._passed(records) if records else set()
        async with self._consumer() as consumer:
            refused = await _since(consumer, marks)
        counts = Counter(_verdict(where, passed, refused) for where in done.sent.values())
        return Replayed(done, counts["fixed"], counts["failed_again"], counts["waiting"])

    async def _sent(self, identities: Iterable[Identity]) -> dict[Identity, int]:
        wanted = list(identities)
        with answering():
            return await dead_letters.replays_of(self._engine, wanted) if wanted else {}

    async def _passed(self, records: set[Identity]) -> set[Identity]:
        """Which of these the engine has behind it, after a while at most."""
        waiting = set(records)
        deadline = time.monotonic() + APPLIED_WITHIN_S
        async with kafka.admin(self._settings.bootstrap) as client:
            while waiting and time.monotonic() < deadline:
                await asyncio.sleep(APPLIED_EVERY_S)
                offsets = await client.list_consumer_group_offsets(self._settings.engine_app_id)
                known = {place: entry.offset for place, entry in offsets.items()}
                waiting = {p for p in waiting if known.get(TopicPartition(p.topic, p.partition), -1) <= p.offset}
        return records - waiting

    async def _at(self, place: Identity) -> Standing | None:
        async with self._consumer() as consumer:
            where = TopicPartition(place.topic, place.partition)
            if where not in consumer.assignment():
                return None
            first, after = (
                (await consumer.beginning_offsets([where]))[where],
                (await consumer.end_offsets([where]))[where],
            )
            if not first <= place.offset < after:
                return None
            reading = Backwards(
                consumer, {place.partition: place.offset + 1}, {place.partition: place.offset}, Budget(letters=1)
            )
            return await reading.next()

    @asynccontextmanager
    async def _reading(self, wanted: Wanted, before: dict[int, int] | None) -> AsyncIterator[Backwards]:
        async with self._consumer() as consumer:
            first, after = await bounds(consumer, wanted)
            for partition, offset in (before or {}).items():
                if partition in after:
                    after[partition] = max(first[partition], min(after[partition], offset))
            yield Backwards(consumer, after, first, Budget())

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        try:
            await asyncio.wait_for(self._turn.acquire(), TURN_WITHIN_S)
        except TimeoutError:
            raise unavailable("others are reading dead letters at the moment; try again") from None
        try:
            async with kafka.reader(self._settings.bootstrap, DEAD_LETTER_TOPIC) as consumer:
                consumer.pause(*consumer.assignment())
                yield consumer
        except (BrokerUnreachable, UnknownTopic) as error:
            raise unavailable(str(error)) from error
        finally:
            self._turn.release()


async def _some(reading: Backwards, wanted: Wanted, most: int) -> dict[Identity, Standing]:
    found: dict[Identity, Standing] = {}
    while len(found) < most and (one := await reading.next()) is not None:
        if wanted.takes(one.letter):
            found.setdefault(one.letter.identity, one)
    return found


async def _counted(reading: Backwards, first: dict[int, int], after: dict[int, int]) -> Groups:
    groups: dict[tuple[str, str, str, str], list[Any]] = {}
    seen: set[Identity] = set()
    oldest = None
    while (one := await reading.next()) is not None:
        oldest = one.at
        letter = one.letter
        if letter.identity in seen:
            continue
        seen.add(letter.identity)
        key = (letter.reason, letter.source, letter.field, letter.identity.topic)
        entry = groups.setdefault(key, [0, one.at, one.at])
        entry[0] += 1
        entry[1] = one.at
    found = [Group(*key, count, earliest, latest) for key, (count, earliest, latest) in groups.items()]
    found.sort(key=lambda group: (-group.count, group.reason, group.source, group.field, group.topic))
    held = sum(after[partition] - first[partition] for partition in after)
    return Groups(found[:GROUPS_SHOWN], len(seen), held, oldest, dt.datetime.now(dt.UTC))


async def _since(consumer: AIOKafkaConsumer, marks: dict[TopicPartition, int]) -> set[Identity]:
    """The identities of the letters that were written since."""
    places = list(marks)
    ends = await consumer.end_offsets(places)
    grown = [place for place in places if ends[place] > marks[place]]
    for place in grown:
        consumer.seek(place, marks[place])
    consumer.resume(*grown)
    found: set[Identity] = set()
    deadline = time.monotonic() + Budget().seconds
    while time.monotonic() < deadline:
        waiting = [place for place in grown if await consumer.position(place) < ends[place]]
        if not waiting:
            return found
        for records in (await consumer.getmany(*waiting, timeout_ms=200)).values():
            found |= {standing(record).letter.identity for record in records}
    raise TimeoutError("dead letters could not be read in time")


def _verdict(places: Iterable[Identity], passed: set[Identity], refused: set[Identity]) -> str:
    events = [place for place in places if place.topic in INPUT_TOPICS]
    if any(place in refused for place in events):
        return "failed_again"
    return "fixed" if all(place in passed for place in events) else "waiting"
