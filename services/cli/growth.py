"""`ebbtide topics grow`: the input topics made again with more partitions, their whole log in its new places.

Kafka can add partitions, but what is there stays where it is: an account would be in two places. So each topic is copied
to one beside it (`growing.usage`), record by record with the time at which it was appended, read back and compared;
then the topic itself is deleted, made with the new count, and filled from the copy. There is a whole copy of every
record at every moment. A run that broke off is called again: what the broker holds tells where it was.

The state of the engine is of the old partitions, and so is of no use: a new application id reads the log from its start.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from msgspec import Struct

from schemas.events import INPUT_TOPICS
from schemas.topics.registry import topics as registry
from services.cli.repartition import Headers, Placed, Repartition, SourceClock, decoded
from services.common import topics
from services.common.db import UNREACHABLE, connect
from services.common.kafka import admin, broker_error, producer
from services.common.settings import Settings
from services.demo.tails import read_tails
from services.signals.recorder.writer import lock

HOLDING: Final = "growing."
PLAN_TOPIC: Final = "growing"
RECORDER_LANE: Final = "timeline"
STILL_S: Final = 6.0
"""How long the topics must stand still before anything is done: longer than the interval of clock ticks."""

SETTLED_WITHIN_S: Final = 60.0
BATCHES_IN_FLIGHT: Final = 64
SAY_EVERY_S: Final = 5.0
KEPT_AS_THEY_COME: Final = {"retention.ms": "-1", "message.timestamp.type": "CreateTime"}
"""While a log is copied: no record gets a new append time, and none is dropped half way."""

Say = Callable[[str], None]
Row = tuple[bytes | None, bytes | None, int, Headers]
"""Key, value, append time in milliseconds, headers."""

_encode: Final = msgspec.msgpack.Encoder().encode


class GrowthRefused(Exception):
    """It cannot be done, or not now. Nothing was changed that calling again would not go on from."""


class Plan(Struct):
    """What a growth that is under way was asked for; kept on the broker until it is done."""

    before: int
    after: int
    app_id: str
    replication: int
    settings: dict[str, dict[str, str]]


@dataclass
class Tally:
    """What passed: how many records, and a digest of them in their order. `accounts` does not depend on order."""

    count: int = 0
    accounts: int = 0
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def add(self, row: Row) -> None:
        """One more record."""
        packed = _encode(row)
        self.count += 1
        self.digest.update(packed)
        if row[0] is not None:
            self.accounts = (self.accounts + _number(packed)) % (1 << 64)

    @property
    def told(self) -> tuple[int, bytes]:
        """What two equal logs have in common."""
        return self.count, self.digest.digest()


def _number(packed: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest())


class Log:
    """The records of one topic as they stand now, each partition in order."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, ends: dict[TopicPartition, int]) -> None:
        self.ends = [ends[TopicPartition(topic, number)] for number in range(len(ends))]
        self._consumer = consumer
        self._topic = topic
        self._waiting: list[deque[Any]] = [deque() for _ in ends]

    async def next(self, number: int) -> Any:
        """The next record of a partition, None at its end."""
        waiting, place, end = self._waiting[number], TopicPartition(self._topic, number), self.ends[number]
        while not waiting and await self._consumer.position(place) < end:
            found = await self._consumer.getmany(place, timeout_ms=500)
            waiting.extend(record for record in found.get(place, ()) if record.offset < end)
        return waiting.popleft() if waiting else None

    async def rows(self, number: int) -> AsyncIterator[Row]:
        """What is left of a partition."""
        while (record := await self.next(number)) is not None:
            yield record.key, record.value, record.timestamp, tuple(record.headers)


@asynccontextmanager
async def reading(bootstrap: str, topic: str, partitions: int) -> AsyncIterator[Log]:
    """The log of a topic, from its first record on."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, client_id="ebbtide", enable_auto_commit=False, auto_offset_reset="none"
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        consumer.assign(places)
        for place in places:
            consumer.seek(place, begins[place])
        yield Log(consumer, topic, ends)
    finally:
        await consumer.stop()


class Appender:
    """Record batches per partition of one topic, each partition's in order."""

    def __init__(self, client: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self.tallies = [Tally() for _ in range(partitions)]
        self._client = client
        self._topic = topic
        self._building: list[Any] = [None] * partitions
        self._sent: deque[asyncio.Future[Any]] = deque()

    async def put(self, number: int, row: Row) -> None:
        """Append one record. Raises an earlier batch's KafkaError."""
        key, value, timestamp, headers = row
        self.tallies[number].add(row)
        batch = self._building[number]
        if batch is not None and not batch.append(timestamp=timestamp, key=key, value=value, headers=[*headers]):
            await self._send(number)
            batch = None
        if batch is None:
            batch = self._building[number] = self._client.create_batch()
            batch.append(timestamp=timestamp, key=key, value=value, headers=[*headers])

    async def settle(self) -> None:
        """Send everything and wait until all of it is acknowledged."""
        for number, batch in enumerate(self._building):
            if batch is not None:
                await self._send(number)
        while self._sent:
            await self._sent.popleft()

    async def _send(self, number: int) -> None:
        batch, self._building[number] = self._building[number], None
        batch.close()
        self._sent.append(await self._client.send_batch(batch, self._topic, partition=number))
        while len(self._sent) > BATCHES_IN_FLIGHT:
            await self._sent.popleft()


async def merged(log: Log, topic: str, sources: int, targets: int) -> AsyncIterator[tuple[Any, Placed | None]]:
    """Every record of the log with where it goes, in the order of the partitions' clocks."""
    clocks = [SourceClock() for _ in range(sources)]
    where = Repartition(sources, targets)
    heads: list[tuple[tuple[int, int], int, Any, Any]] = []

    async def push(number: int) -> None:
        record = await log.next(number)
        if record is not None:
            event = decoded(topic, record)
            heapq.heappush(heads, (clocks[number].of(record, event), number, record, event))

    for number in range(sources):
        await push(number)
    while heads:
        _, number, record, event = heads[0]
        yield record, where.place(number, record, event)
        heapq.heappop(heads)
        await push(number)


class Growth:
    """One growth of the input topics to `partitions`, for an engine with the new application id `app_id`."""

    def __init__(self, config: Settings, partitions: int, app_id: str, say: Say) -> None:
        self._config = config
        self._bootstrap = config.bootstrap
        self._after = partitions
        self._app_id = app_id
        self._say = say
        self._counts: dict[str, int] = {}
        self._copied: dict[str, list[int]] = {}
        self._under_way = False

    async def check(self) -> Plan | None:
        """What is to be done, or None when it is done. Raises GrowthRefused with the reason; changes nothing that counts."""
        async with admin(self._bootstrap) as client:
            self._counts = await _counts(client)
            plan = await self._plan(client)
            if plan is None:
                await self._clean(client)
                return None
            await self._refuse_workers(client)
        await self._refuse_recorder()
        await self._refuse_writers()
        if all(name in self._counts for name in INPUT_TOPICS):
            await self._refuse_open_replay()
        return plan

    async def run(self, plan: Plan) -> None:
        """Do it. Raises GrowthRefused, BrokerUnreachable and KafkaError; then it can be called again."""
        async with admin(self._bootstrap) as client:
            await self._keep(client, plan)
            for name in INPUT_TOPICS:
                if self._counts.get(name) == plan.before:
                    await self._copy(client, plan, name)
            for name in INPUT_TOPICS:
                if HOLDING + name in self._counts:
                    await self._swap(client, plan, name)
            await self._finish(client, plan)

    # -- what must hold -------------------------------------------------------------------------------------------

    async def _plan(self, client: AIOKafkaAdminClient) -> Plan | None:
        held = await _read_plan(self._bootstrap) if PLAN_TOPIC in self._counts else None
        if held is not None:
            self._under_way = True
            if (held.after, held.app_id) != (self._after, self._app_id):
                raise GrowthRefused(
                    f"a growth to {held.after} partitions for {held.app_id} is under way: finish it first, with "
                    f"--partitions {held.after} --app-id {held.app_id}"
                )
            return held
        missing = [name for name in INPUT_TOPICS if name not in self._counts]
        if missing:
            raise GrowthRefused(f"no such topic: {', '.join(missing)}; make the topics with `ebbtide topics apply`")
        counts = {name: self._counts[name] for name in INPUT_TOPICS}
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise GrowthRefused(
                f"the input topics have different partition counts ({shown}); see `ebbtide topics check`"
            )
        before = counts[INPUT_TOPICS[0]]
        changelog = f"{self._app_id}-state-changelog"
        if before == self._after and self._counts.get(changelog) == before:
            return None
        if before >= self._after:
            raise GrowthRefused(
                f"the input topics have {before} partitions: {self._after} are not more. Fewer would gain nothing: "
                "a worker takes several"
            )
        if changelog in self._counts or self._app_id == self._config.engine_app_id:
            raise GrowthRefused(
                f"the application id {self._app_id} is in use: its state is of {before} partitions. Name a new one "
                "with --app-id"
            )
        configs = await topics.existing(client, INPUT_TOPICS)
        return Plan(
            before=before,
            after=self._after,
            app_id=self._app_id,
            replication=min(configs[name].replication for name in INPUT_TOPICS),
            settings={name: configs[name].overrides for name in INPUT_TOPICS},
        )

    async def _refuse_workers(self, client: AIOKafkaAdminClient) -> None:
        for group in {self._config.engine_app_id, self._app_id}:
            for answer in await client.describe_consumer_groups([group]):
                for code, name, state, _, _, members, *_ in answer.groups:
                    if not code and members:
                        raise GrowthRefused(
                            f"{len(members)} engine worker(s) of {name} are running ({state}): stop every engine, "
                            "ingest, recorder and other producer first"
                        )
        if await client.list_consumer_group_offsets(self._app_id):
            raise GrowthRefused(f"the application id {self._app_id} was used before: name a new one with --app-id")

    async def _refuse_recorder(self) -> None:
        try:
            connection = await connect(self._config.database, process="grow")
            try:
                if not await lock(connection, RECORDER_LANE):
                    raise GrowthRefused("a recorder is running: stop it first")
                await connection.fetchval("SELECT count(*) FROM recorder_offsets")
            finally:
                await connection.close()
        except (*UNREACHABLE, asyncpg.UndefinedTableError) as problem:
            raise GrowthRefused(
                f"the database, where the recorder keeps its positions in these topics, cannot be read ({problem}); "
                "set EBBTIDE_DATABASE_URL, or start it"
            ) from problem

    async def _refuse_writers(self) -> None:
        first = await self._ends()
        await asyncio.sleep(STILL_S)
        moved = [name for name, ends in (await self._ends()).items() if ends != first[name]]
        if moved:
            raise GrowthRefused(
                f"something writes to {', '.join(moved)}: stop every producer, ingest and engine, and try again"
            )

    async def _refuse_open_replay(self) -> None:
        tails = await read_tails(self._bootstrap, {name: self._counts[name] for name in INPUT_TOPICS})
        if any(tail.historical for tail in tails.values()):
            raise GrowthRefused("a replay is open; end it with `ebbtide replay --finish`, then try again")

    async def _ends(self) -> dict[str, list[int]]:
        found = {}
        for name in INPUT_TOPICS:
            if name in self._counts:
                async with reading(self._bootstrap, name, self._counts[name]) as log:
                    found[name] = log.ends
        return found

    # -- steps ----------------------------------------------------------------------------------------------------

    async def _keep(self, client: AIOKafkaAdminClient, plan: Plan) -> None:
        if self._under_way:
            return
        if PLAN_TOPIC not in self._counts:
            await self._make(client, PLAN_TOPIC, 1, plan.replication, {"retention.ms": "-1"})
        async with _appending(self._config) as sender:
            await sender.send_and_wait(PLAN_TOPIC, _encode(plan), partition=0)

    async def _copy(self, client: AIOKafkaAdminClient, plan: Plan, name: str) -> None:
        """The topic's log in its new places, beside it."""
        holding = HOLDING + name
        if holding in self._counts:
            self._say(f"{name}: copied in part by an earlier run; copying again")
            await self._delete(client, holding)
        await self._make(client, holding, plan.after, plan.replication, plan.settings[name] | KEPT_AS_THEY_COME)
        accounts, read, started = 0, 0, time.monotonic()
        said = started
        async with reading(self._bootstrap, name, plan.before) as log, _appending(self._config) as sender:
            whole = sum(log.ends)
            into = Appender(sender, holding, plan.after)
            async for record, placed in merged(log, name, plan.before, plan.after):
                read += 1
                if record.key is not None:
                    row = (record.key, record.value, record.timestamp, tuple(record.headers))
                    accounts = (accounts + _number(_encode(row))) % (1 << 64)
                if placed is not None:
                    for number in range(plan.after) if placed.target is None else (placed.target,):
                        await into.put(number, placed[1:])
                if time.monotonic() > said + SAY_EVERY_S:
                    said = time.monotonic()
                    self._say(f"{name}: {read:,} of up to {whole:,} records copied")
            await into.settle()
            self._copied[name] = log.ends
        there = await self._tallies(holding, plan.after)
        if [tally.told for tally in there] != [tally.told for tally in into.tallies]:
            raise GrowthRefused(f"{holding} does not hold what was sent to it; call again to copy anew")
        if sum(tally.accounts for tally in there) % (1 << 64) != accounts:
            raise GrowthRefused(f"{holding} does not hold the same accounts' records as {name}; nothing was deleted")
        self._say(f"{name}: {read:,} records copied and compared in {time.monotonic() - started:.1f} s")

    async def _swap(self, client: AIOKafkaAdminClient, plan: Plan, name: str) -> None:
        """The topic itself made anew, and filled from the copy."""
        holding = HOLDING + name
        if self._counts.get(name) == plan.before:
            async with reading(self._bootstrap, name, plan.before) as log:
                if log.ends != self._copied[name]:
                    raise GrowthRefused(f"something wrote to {name} after it was copied: stop it, and call again")
            await self._delete(client, name)
        if name not in self._counts:
            await self._make(client, name, plan.after, plan.replication, plan.settings[name] | KEPT_AS_THEY_COME)
        there = await self._tallies(name, plan.after)
        wanted = []
        async with reading(self._bootstrap, holding, plan.after) as log, _appending(self._config) as sender:
            into = Appender(sender, name, plan.after)
            for number in range(plan.after):
                whole = Tally()
                async for row in log.rows(number):
                    whole.add(row)
                    if whole.count > there[number].count:
                        await into.put(number, row)
                    elif whole.count == there[number].count and whole.told != there[number].told:
                        raise GrowthRefused(_foreign(name, number))
                if whole.count < there[number].count:
                    raise GrowthRefused(_foreign(name, number))
                wanted.append(whole.told)
            await into.settle()
        if [tally.told for tally in await self._tallies(name, plan.after)] != wanted:
            raise GrowthRefused(_foreign(name, None))
        final = registry(self._app_id)[name].settings(plan.replication)
        await _configure(client, name, final | plan.settings[name])
        self._say(f"{name}: made with {plan.after} partitions, {sum(count for count, _ in wanted):,} records")

    async def _finish(self, client: AIOKafkaAdminClient, plan: Plan) -> None:
        report = await topics.apply(
            self._bootstrap, partitions=plan.after, replication=plan.replication, app_id=plan.app_id
        )
        if report.refused:
            raise GrowthRefused(report.refused)
        connection = await connect(self._config.database, process="grow")
        try:
            await connection.execute("DELETE FROM recorder_offsets WHERE topic = ANY($1)", list(INPUT_TOPICS))
        finally:
            await connection.close()
        # The plan first: from here on the topics may be written to, and nothing must compare them with the copies.
        await self._delete(client, PLAN_TOPIC)
        await self._clean(client)

    async def _clean(self, client: AIOKafkaAdminClient) -> None:
        for name in INPUT_TOPICS:
            if HOLDING + name in self._counts:
                await self._delete(client, HOLDING + name)

    # -- topics ---------------------------------------------------------------------------------------------------

    async def _tallies(self, name: str, partitions: int) -> list[Tally]:
        found = [Tally() for _ in range(partitions)]
        async with reading(self._bootstrap, name, partitions) as log:
            for number, tally in enumerate(found):
                async for row in log.rows(number):
                    tally.add(row)
        return found

    async def _make(
        self, client: AIOKafkaAdminClient, name: str, partitions: int, replication: int, configs: Mapping[str, str]
    ) -> None:
        answer = await client.create_topics([NewTopic(name, partitions, replication, topic_configs=dict(configs))])
        for _, code, message in answer.topic_errors:
            if code:
                raise GrowthRefused(f"{name}: the broker did not make it: {broker_error(code, message)}")
        await _until(client, lambda counts: counts.get(name) == partitions, f"{name} does not show")
        self._counts[name] = partitions

    async def _delete(self, client: AIOKafkaAdminClient, name: str) -> None:
        answer = await client.delete_topics([name])
        for _, code, *_ in getattr(answer, "topic_error_codes", None) or answer.responses:
            if code:
                raise GrowthRefused(f"{name}: the broker did not delete it: {broker_error(code, None)}")
        await _until(client, lambda counts: name not in counts, f"{name} does not go")
        del self._counts[name]


def _foreign(name: str, number: int | None) -> str:
    where = name if number is None else f"{name}-{number}"
    return (
        f"{where} holds records that are not of the copy: something wrote to the topic while it was filled. Stop it. "
        f"{HOLDING}{name} holds everything up to the growth; save what was written since if it is wanted, delete the "
        f"topic {name}, and call again"
    )


async def _counts(client: AIOKafkaAdminClient) -> dict[str, int]:
    """Partitions of every topic whose partitions all have a leader."""
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in await client.describe_topics()
        if topic["partitions"] and all(partition["leader"] >= 0 for partition in topic["partitions"])
    }


async def _until(client: AIOKafkaAdminClient, there: Callable[[dict[str, int]], bool], problem: str) -> None:
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while not there(await _counts(client)):
        if time.monotonic() > deadline:
            raise GrowthRefused(f"{problem} within {SETTLED_WITHIN_S:.0f} s; call again")
        await asyncio.sleep(0.1)


async def _configure(client: AIOKafkaAdminClient, name: str, settings: Mapping[str, str]) -> None:
    answers = await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(settings))])
    for code, message, *_ in (resource for answer in answers for resource in answer.resources):
        if code:
            raise GrowthRefused(f"{name}: the broker did not take its settings: {broker_error(code, message)}")


async def _read_plan(bootstrap: str) -> Plan | None:
    """The plan under way; None where its run ended before it was written, and nothing else was done."""
    async with reading(bootstrap, PLAN_TOPIC, 1) as log:
        record = await log.next(0)
    return None if record is None else msgspec.msgpack.decode(record.value, type=Plan)


@asynccontextmanager
async def _appending(config: Settings) -> AsyncIterator[AIOKafkaProducer]:
    client = await producer(config, linger_ms=0)
    try:
        yield client
    finally:
        await client.stop()
