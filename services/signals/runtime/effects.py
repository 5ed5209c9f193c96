"""The numbered effects of a batch, in the one order in which a crash between any two costs nothing but repeats.

1. Dead letters, awaited. A crash after it repeats them: same source topic, partition and offset, which is their identity.
2. State: all keys that changed, with the outbox of their transitions and the partition's own record last, as one record
   batch per partition, awaited; then one write to the local copy. A crash before the acknowledgement: the records are
   applied again. A crash after it: they are skipped, and the outbox is published again.
3. Signals and health, awaited. A crash after it publishes the same bytes under the same ids again.
4. Positions, by the caller: the source commits them. A crash before the commit reads records again that are skipped.

Before the first effect of an assignment the partition is claimed: one record under the new epoch (and what the fence asks
to be written again). From then on whatever a worker of a lower epoch appends is refused by whoever reads the changelog.

After 2 the batch's offset must follow the last one known. If it does not, somebody else wrote, and what they wrote is read:
all of a lower epoch, it came from a worker that had lost the partition, and the keys it wrote are written again; anything
else, and this worker is the one that lost it: it stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog

from schemas.dead_letters import DEAD_LETTER_TOPIC
from schemas.health import HEALTH_TOPIC
from services.common import metrics
from services.common.kafka import partition_of
from services.signals.runtime.failpoints import Failpoints
from services.signals.runtime.fence import EPOCH_HEADER, Fence
from services.signals.runtime.stores import PartitionStores, Write

log = structlog.get_logger()

MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
"""Largest record batch the engine's producer may send. The changelog topic must take it."""

CUT_BYTES: Final = 4 * 1024 * 1024
"""Rough size of changed state at which a batch is cut: far enough below for what one more record may add."""

OUTPUT_BATCH_BYTES: Final = 512 * 1024
"""Size at which a batch of signals, health or dead letters is sent: their topics take 1 MiB."""

CLAIM_KEY: Final = b"\xffclaim"
"""Key of the deletion that claims a partition. No key of the engine can begin so: UTF-8 has no byte 0xff."""

REPAIRS: Final = 5
"""How often a woken worker may write into the repair of what it wrote before this worker gives up."""

Header = tuple[str, bytes]
Out = tuple[bytes | None, bytes | None, list[Header]]
"""Key, value and headers of a record to append."""

Place = tuple[str, int]
"""Topic and partition."""

Read = Callable[[int, int, int], Awaitable[Sequence[Any]]]
"""Reads a changelog partition from an offset up to, not including, another: aiokafka's records."""


class ForeignWrite(Exception):
    """The changelog partition has records that this worker neither wrote nor read, and may not pass over."""


class EffectTooLarge(Exception):
    """One effect does not fit into one record batch."""


class EffectsLike(Protocol):
    """What the engine's `take` returns."""

    @property
    def dead_letters(self) -> Sequence[Any]: ...
    @property
    def state(self) -> Sequence[Write]: ...
    @property
    def signals(self) -> Sequence[tuple[str, bytes, bytes, int]]: ...
    @property
    def health(self) -> Sequence[tuple[bytes, bytes | None]]: ...
    @property
    def near_cap(self) -> Sequence[Any]: ...
    def __bool__(self) -> bool: ...


@dataclass(slots=True)
class Effect:
    """What one partition's engine concluded, to be written under its `epoch`."""

    partition: int
    epoch: int
    effects: EffectsLike


class Publisher:
    """Carries out effects. `producer` is a started, idempotent AIOKafkaProducer that nothing else appends state with.

    `counts` is the number of partitions per output topic; `epoch_of` reads the writer's epoch from a stored value.
    """

    def __init__(
        self,
        producer: Any,
        *,
        inputs: Sequence[str],
        changelog: str,
        counts: Mapping[str, int],
        stores: PartitionStores,
        failpoints: Failpoints,
        read: Read,
        epoch_of: Callable[[bytes], int],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._producer = producer
        self._inputs = tuple(inputs)
        self._changelog = changelog
        self._counts = counts
        self._stores = stores
        self._reach = failpoints.reach
        self._read = read
        self._epoch_of = epoch_of
        self._now = now
        self._ends: dict[int, int] = {}

    def opened(self, ends: Mapping[int, int]) -> None:
        """After recovery: the offset of the last changelog record of each assigned partition."""
        self._ends = dict(ends)

    async def claim(self, partition: int, epoch: int, refused: Iterable[bytes]) -> None:
        """Begin an assignment: append the first record of its `epoch`, and the good value of keys whose last record the
        fence refused. What the owner before wrote since the changelog was read is read now. Raises ForeignWrite when it
        was not the owner who wrote, or what was repaired may be newer in it."""
        store = self._stores[partition]
        records = _under(epoch, [*((key, store.get(key)) for key in refused), (CLAIM_KEY, None)])
        metadata = await (await self._send_state(partition, records))
        expected = self._ends[partition] + 1
        if metadata.offset != expected:
            fence = Fence(store.epoch, self._epoch_of)
            found = await self._read(partition, expected, metadata.offset) if metadata.offset > expected else []
            writes = fence.accept(found)
            if not found or fence.refused or fence.newest >= epoch or len(records) > 1:
                raise self._foreign(partition, expected, metadata.offset)
            store.write(writes, (metadata.offset - 1, fence.newest))
            log.info("read what the owner before wrote until the claim", partition=partition, records=len(found))
        self._store(partition, epoch, records, metadata.offset + len(records) - 1)

    async def publish(self, effects: Sequence[Effect]) -> None:
        """Carry out effects 1 to 3 of several partitions at once, each effect for all of them before the next."""
        self._reach("before-dead-letters")
        await asyncio.gather(*await self._send_all(self._letters(effects)))
        self._reach("after-dead-letters")
        await self._append(effects)
        futures = await self._send_all(self._outputs(effects))
        self._reach("signals-sent")
        await asyncio.gather(*futures)
        self._reach("signals-acknowledged")

    def _letters(self, effects: Sequence[Effect]) -> dict[Place, list[Out]]:
        letters: dict[Place, list[Out]] = {}
        count = self._counts[DEAD_LETTER_TOPIC]
        for effect in effects:
            for letter in effect.effects.dead_letters:
                number = effect.partition % count if letter.key is None else partition_of(letter.key, count)
                record = (letter.key, letter.value, self._dead(effect.partition, letter))
                letters.setdefault((DEAD_LETTER_TOPIC, number), []).append(record)
        return letters

    def _dead(self, partition: int, letter: Any) -> list[Header]:
        refusal = letter.refusal
        fields = {
            "reason": refusal.reason,
            "field": refusal.field,
            "detail": refusal.detail,
            "source_topic": self._inputs[letter.topic],
            "source_partition": str(partition),
            "source_offset": str(letter.offset),
            "failed_at": self._now().isoformat().replace("+00:00", "Z"),
        }
        return [(name, value.encode()) for name, value in fields.items()]

    async def _append(self, effects: Sequence[Effect]) -> None:
        """Append each partition's state as one batch, see that nobody else wrote, and write the local copy."""
        sent = []
        for effect in effects:
            if effect.effects.state:
                records: list[Out] = [
                    (key, value, _mark(effect.epoch) if value is None else []) for key, value in effect.effects.state
                ]
                sent.append((effect, records, await self._send_state(effect.partition, records)))
        self._reach("state-sent")
        acknowledged = await asyncio.gather(*(future for *_, future in sent))
        self._reach("state-acknowledged")
        for (effect, records, _), metadata in zip(sent, acknowledged, strict=True):
            expected = self._ends[effect.partition] + 1
            if metadata.offset == expected:
                self._store(effect.partition, effect.epoch, records, metadata.offset + len(records) - 1)
            else:
                await self._outlive(effect.partition, effect.epoch, expected, metadata.offset, records)
        self._reach("state-stored")

    async def _send_state(self, partition: int, records: Sequence[Out]) -> asyncio.Future[Any]:
        batch = self._producer.create_batch()
        for key, value, headers in records:
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                raise EffectTooLarge(
                    f"the state that one effect changes in partition {partition} ({len(records)} records) is over "
                    f"{MAX_BATCH_BYTES} bytes; lower EBBTIDE_ENGINE_BATCH"
                )
        batch.close()
        sent: asyncio.Future[Any] = await self._producer.send_batch(batch, self._changelog, partition=partition)
        return sent

    def _store(self, partition: int, epoch: int, records: Iterable[Out], end: int) -> None:
        """The local copy, up to and with offset `end` of the changelog."""
        self._ends[partition] = end
        self._stores[partition].write(((key, value) for key, value, _ in records if key is not None), (end, epoch))

    async def _outlive(self, partition: int, epoch: int, first: int, end: int, own: list[Out]) -> None:
        """Go on after somebody wrote offsets `first` to `end` - 1, before the records `own` of this worker at `end`.

        The claim stands before them in the log, so recovery refuses what is of a lower epoch: so it is refused here, and
        its keys are written again. The local copy stands where it stood until that is done, as after a recovery.
        """
        store = self._stores[partition]
        fence = Fence(epoch, self._epoch_of)
        keys = 0
        for _ in range(REPAIRS):
            if end < first or fence.accept(await self._read(partition, first, end)):
                raise self._foreign(partition, first, end)
            store.write(((key, value) for key, value, _ in own if key is not None), None)
            keys = max(keys, len(fence.refused))
            for key, _, _ in own:
                fence.refused.pop(key or b"", None)
            if not fence.refused:
                log.warning(
                    "passed over what a worker wrote that had lost the partition", partition=partition, keys=keys
                )
                metrics.ENGINE_REFUSED_STATE.inc(keys)
                self._store(partition, epoch, (), end + len(own) - 1)
                return
            first = end + len(own)
            own = _under(epoch, [(key, store.get(key)) for key in fence.refused])
            end = (await (await self._send_state(partition, own))).offset
        raise self._foreign(partition, first, end)

    def _foreign(self, partition: int, expected: int, found: int) -> ForeignWrite:
        return ForeignWrite(
            f"{self._changelog}-{partition}: expected to append at offset {expected}, got {found}: "
            "another worker has this partition or had it when it wrote; restarting recovers"
        )

    def _outputs(self, effects: Sequence[Effect]) -> dict[Place, list[Out]]:
        outputs: dict[Place, list[Out]] = {}
        for effect in effects:
            for topic, key, value, sequence in effect.effects.signals:
                place = (topic, partition_of(key, self._counts[topic]))
                outputs.setdefault(place, []).append((key, value, [("sequence", b"%d" % sequence)]))
            for key, state in effect.effects.health:
                place = (HEALTH_TOPIC, partition_of(key, self._counts[HEALTH_TOPIC]))
                outputs.setdefault(place, []).append((key, state, []))
        return outputs

    async def _send_all(self, outputs: Mapping[Place, list[Out]]) -> list[asyncio.Future[Any]]:
        """Append records in order, in as few batches as the topics take. Returns the acknowledgements to come."""
        futures = []
        for (topic, partition), records in outputs.items():
            batch = self._producer.create_batch()
            for key, value, headers in records:
                if batch.size() > OUTPUT_BATCH_BYTES:
                    batch.close()
                    futures.append(await self._producer.send_batch(batch, topic, partition=partition))
                    batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=headers)
            batch.close()
            futures.append(await self._producer.send_batch(batch, topic, partition=partition))
        return futures


def _mark(epoch: int) -> list[Header]:
    return [(EPOCH_HEADER, b"%d" % epoch)]


def _under(epoch: int, writes: Iterable[Write]) -> list[Out]:
    """Records that say their writer's epoch in a header, whatever their values say."""
    mark = _mark(epoch)
    return [(key, value, mark) for key, value in writes]
