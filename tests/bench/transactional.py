"""A small engine worker over plain aiokafka, in two forms: effects in order behind the epoch fence, or transactions.

`python -m tests.bench.transactional FORM APP_ID BOOTSTRAP` with FORM `fence` or `transactions`. It reads all partitions
of the input topics by assignment, without a group, so that takeovers are measured without the rebalance that both forms
would need. With `--standby` it is ready to begin and waits for a line on stdin. It says what it does as JSON lines.

`fence` is the product's: dead letters, state, signals, then positions, each awaited for all partitions before the next;
recovery refuses records of older epochs. `transactions` has one producer per partition, whose transactional id is the
application id and the partition: all effects and the positions of a partition's batch are one transaction.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced

from schemas.dead_letters import DEAD_LETTER_TOPIC
from schemas.events import INPUT_TOPICS
from schemas.health import HEALTH_TOPIC
from schemas.signals import OPPORTUNITY_TOPIC, RISK_TOPIC
from services.common.kafka import partition_of
from services.common.kafka import producer as idempotent_producer
from services.common.settings import Settings
from services.signals.catalogue import load
from services.signals.core.codec import epoch_of
from services.signals.core.partition import PartitionEngine
from services.signals.runtime.changelog import ChangelogReader
from services.signals.runtime.effects import MAX_BATCH_BYTES, Effect, ForeignWrite, Out, Place, Publisher
from services.signals.runtime.failpoints import Failpoints
from services.signals.runtime.fence import Fence, next_epoch
from services.signals.runtime.records import prepare
from services.signals.runtime.stores import PartitionStores, in_memory

PARTITIONS = 4
BATCH = 4000
COMMIT_EVERY_S = 0.5
OUTPUTS = (RISK_TOPIC, OPPORTUNITY_TOPIC, HEALTH_TOPIC, DEAD_LETTER_TOPIC)
FENCED, FAILED = 3, 4
"""Exit codes: another worker has taken over, and anything else."""


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def cpu_s() -> float:
    """CPU seconds of this process so far, in it and in the kernel for it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class InOrder:
    """The product's order of effects behind the epoch fence."""

    isolation = "read_uncommitted"

    def __init__(self, config: Settings, changelog: str, stores: PartitionStores, failpoints: Failpoints) -> None:
        self._config = config
        self._changelog = changelog
        self._stores = stores
        self._failpoints = failpoints
        self._committed_at = 0.0
        self._publisher: Any = None

    async def start(self) -> None:
        """Connect."""
        self._producer = await idempotent_producer(
            self._config, linger_ms=0, max_batch_size=MAX_BATCH_BYTES, max_request_size=MAX_BATCH_BYTES + (1 << 20)
        )
        self._publisher = Publisher(
            self._producer,
            inputs=INPUT_TOPICS,
            changelog=self._changelog,
            counts=dict.fromkeys((*OUTPUTS, self._changelog), PARTITIONS),
            stores=self._stores,
            failpoints=self._failpoints,
            read=ChangelogReader(self._config.bootstrap, self._changelog),
            epoch_of=epoch_of,
        )

    async def opened(self, ends: Mapping[int, int], fences: Mapping[int, Fence]) -> None:
        """After recovery: claim the partitions, with what the fence refused written again."""
        self._publisher.opened({number: end - 1 for number, end in ends.items()})
        for number, fence in fences.items():
            await self._publisher.claim(number, next_epoch(fence.newest, 0), fence.refused)

    async def carry_out(
        self, taken: list[Effect], positions: Mapping[int, dict[TopicPartition, int]], consumer: Any
    ) -> int:
        """Effects 1 to 3, and every half second the positions. Returns transactions, of which there are none."""
        await self._publisher.publish(taken)
        if time.monotonic() > self._committed_at + COMMIT_EVERY_S:
            self._committed_at = time.monotonic()
            await consumer.commit({place: at for each in positions.values() for place, at in each.items()})
        return 0


class Transactions:
    """One transaction per batch and partition."""

    isolation = "read_committed"

    def __init__(
        self, config: Settings, changelog: str, stores: PartitionStores, failpoints: Failpoints, timeout_ms: int
    ) -> None:
        self._changelog = changelog
        self._stores = stores
        self._reach = failpoints.reach
        self._group = config.engine_app_id
        self._producers = {
            number: AIOKafkaProducer(
                bootstrap_servers=config.bootstrap,
                transactional_id=f"{config.engine_app_id}-{number}",
                transaction_timeout_ms=timeout_ms,
                acks="all",
                linger_ms=0,
                max_batch_size=MAX_BATCH_BYTES,
                max_request_size=MAX_BATCH_BYTES + (1 << 20),
                request_timeout_ms=15_000,
            )
            for number in range(PARTITIONS)
        }

    async def start(self) -> None:
        """Take the transactional ids: the broker fences who had them and aborts what they had open."""
        await asyncio.gather(*(producer.start() for producer in self._producers.values()))

    async def opened(self, ends: Mapping[int, int], fences: Mapping[int, Fence]) -> None:
        """Nothing was refused: the broker let nobody write."""

    async def carry_out(
        self, taken: list[Effect], positions: Mapping[int, dict[TopicPartition, int]], consumer: Any
    ) -> int:
        """One transaction for each partition, at once. Returns how many."""
        self._reach("before-dead-letters")
        await asyncio.gather(*(self._begin(each, positions[each.partition]) for each in taken))
        self._reach("signals-acknowledged")
        await asyncio.gather(*(self._producers[each.partition].commit_transaction() for each in taken))
        for each in taken:
            self._stores[each.partition].write(each.effects.state, None)
        return len(taken)

    async def _begin(self, effect: Effect, positions: dict[TopicPartition, int]) -> None:
        producer, effects = self._producers[effect.partition], effect.effects
        await producer.begin_transaction()
        records: dict[Place, list[Out]] = {
            (self._changelog, effect.partition): [(key, value, []) for key, value in effects.state]
        }
        for letter in effects.dead_letters:
            records.setdefault((DEAD_LETTER_TOPIC, effect.partition), []).append((letter.key, letter.value, []))
        for topic, account, change, sequence in effects.signals:
            place = (topic, partition_of(account, PARTITIONS))
            records.setdefault(place, []).append((account, change, [("sequence", b"%d" % sequence)]))
        for whose, health in effects.health:
            records.setdefault((HEALTH_TOPIC, partition_of(whose, PARTITIONS)), []).append((whose, health, []))
        sent = []
        for (topic, number), rows in records.items():
            batch = producer.create_batch()
            for key, value, headers in rows:
                # The outputs' topics take 1 MiB, and the state has to be one batch.
                if topic != self._changelog and batch.size() > 512 * 1024:
                    batch.close()
                    sent.append(await producer.send_batch(batch, topic, partition=number))
                    batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=headers)
            batch.close()
            sent.append(await producer.send_batch(batch, topic, partition=number))
        await producer.send_offsets_to_transaction(positions, self._group)
        await asyncio.gather(*sent)


async def recover(
    bootstrap: str, changelog: str, stores: PartitionStores, isolation: str
) -> tuple[dict[int, int], dict[int, Fence]]:
    """Read the changelog into the stores. Returns each partition's end, and its fence."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level=isolation,
        enable_auto_commit=False,
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    try:
        places = [TopicPartition(changelog, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, 0)
        fences = {number: Fence(0, epoch_of) for number in range(PARTITIONS)}
        while any([await consumer.position(place) < ends[place] for place in places]):
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                fence = fences[place.partition]
                stores[place.partition].write(fence.accept(records), None)
        return {place.partition: end for place, end in ends.items()}, fences
    finally:
        await consumer.stop()


async def work(form: str, config: Settings, timeout_ms: int, until: int | None) -> None:
    """Recover, then apply batches until `until` records were applied (None: for ever)."""
    changelog = f"{config.engine_app_id}-state-changelog"
    stores, failpoints = in_memory(), Failpoints.from_environment()
    shell: Any
    if form == "fence":
        shell = InOrder(config, changelog, stores, failpoints)
    else:
        shell = Transactions(config, changelog, stores, failpoints, timeout_ms)
    began = time.monotonic()
    await shell.start()
    taken_over = time.monotonic()
    ends, fences = await recover(config.bootstrap, changelog, stores, shell.isolation)
    await shell.opened(ends, fences)
    recovered = time.monotonic()
    catalogue = load()
    engines: dict[int, PartitionEngine] = {}
    for number in range(PARTITIONS):
        engines[number] = PartitionEngine(number, INPUT_TOPICS, catalogue, stores[number], partitions=PARTITIONS)
        engines[number].restore()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=config.bootstrap,
        group_id=config.engine_app_id,
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    places = [TopicPartition(topic, number) for topic in INPUT_TOPICS for number in range(PARTITIONS)]
    consumer.assign(places)
    for place in places:
        consumer.seek(place, engines[place.partition].applied[INPUT_TOPICS.index(place.topic)] + 1)
    refused = sum(len(fence.refused) for fence in fences.values())
    say(at="ready", taken_over_s=taken_over - began, recovered_s=recovered - taken_over, refused=refused)
    epochs = {number: next_epoch(fence.newest, 0) for number, fence in fences.items()}

    def take(numbers: Iterable[int]) -> list[Effect]:
        taken = [Effect(n, epochs[n], engines[n].take(epochs[n], time.monotonic())) for n in sorted(numbers)]
        return [effect for effect in taken if effect.effects]

    def positions(taken: list[Effect]) -> dict[int, dict[TopicPartition, int]]:
        return {
            effect.partition: {
                TopicPartition(topic, effect.partition): offset + 1
                for topic, offset in zip(INPUT_TOPICS, engines[effect.partition].applied, strict=True)
                if offset >= 0
            }
            for effect in taken
        }

    # What the last effect concluded may not have been said.
    taken = take(engines)
    if taken:
        await shell.carry_out(taken, positions(taken), consumer)
    applied = batches = transactions = 0
    cpu = core = since = 0.0
    while until is None or applied < until:
        found = await consumer.getmany(timeout_ms=200, max_records=BATCH)
        if not found:
            continue
        if not applied:
            cpu, since = cpu_s(), time.monotonic()
        began = time.thread_time()
        for place, records in found.items():
            engine, index = engines[place.partition], INPUT_TOPICS.index(place.topic)
            for item in prepare(index, place.topic, place.partition, records)[1]:
                engine.apply(*item)
            applied += len(records)
        taken = take({place.partition for place in found})
        core += time.thread_time() - began
        transactions += await shell.carry_out(taken, positions(taken), consumer)
        batches += 1
        if not batches % 50:
            say(at="working", applied=applied, cpu_s=cpu_s() - cpu)
    say(
        at="done",
        applied=applied,
        batches=batches,
        transactions=transactions,
        core_s=core,
        cpu_s=cpu_s() - cpu,
        wall_s=time.monotonic() - since,
    )


async def ended(running: Coroutine[Any, Any, None]) -> None:
    """Run to the end and say how it ended, whatever a client that failed still waits for."""
    code = 0
    try:
        await running
    except (ProducerFenced, ForeignWrite) as error:
        say(at="fenced", error=repr(error)[:200])
        code = FENCED
    except Exception as error:
        say(at="failed", error=repr(error)[:200])
        code = FAILED
    os._exit(code)


def main() -> None:
    """Run one worker."""
    given = argparse.ArgumentParser()
    given.add_argument("form", choices=("fence", "transactions"))
    given.add_argument("app_id")
    given.add_argument("bootstrap")
    given.add_argument("--standby", action="store_true")
    given.add_argument("--timeout-ms", type=int, default=60_000)
    given.add_argument("--until", type=int)
    args = given.parse_args()
    config = Settings(kafka_bootstrap_servers=args.bootstrap, engine_app_id=args.app_id)  # type: ignore[call-arg]
    load()
    if args.standby:
        say(at="standby")
        sys.stdin.readline()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(ended(work(args.form, config, args.timeout_ms, args.until)))


if __name__ == "__main__":
    main()
