"""The order of effects, what each awaits, and what is noticed."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.codec import Refusal
from services.signals.runtime import effects as effects_module
from services.signals.runtime.effects import CLAIM_KEY, Effect, EffectTooLarge, ForeignWrite, Publisher
from services.signals.runtime.failpoints import PLACES, FailpointReached, Failpoints
from services.signals.runtime.fence import Fence
from services.signals.runtime.stores import PartitionStores, in_memory
from tests.faults.double import Letter, Taken

INPUTS = ("usage", "tickets")
COUNTS = {"dead-letters": 2, "signals.risk": 2, "health": 2}


class FakeBatch:
    def __init__(self, limit: int) -> None:
        self.records: list[tuple[Any, Any, Any]] = []
        self.closed = False
        self._limit = limit

    def append(self, *, key: Any, value: Any, timestamp: Any, headers: Sequence[Any] = ()) -> object | None:
        if self.size() + len(value or b"") > self._limit and self.records:
            return None
        self.records.append((key, value, list(headers)))
        return object()

    def size(self) -> int:
        return sum(len(value or b"") for _, value, _ in self.records)

    def close(self) -> None:
        self.closed = True


class FakeProducer:
    """Tells the order of sends and acknowledgements; acknowledges when the loop turns."""

    def __init__(self, limit: int = 1000) -> None:
        self.log: list[tuple[str, str, int]] = []
        self.appended: dict[tuple[str, int], list[tuple[Any, Any, Any]]] = {}
        self.offsets: dict[tuple[str, int], int] = {}
        self.refuse: set[str] = set()
        self._limit = limit

    async def read(self, partition: int, first: int, end: int) -> list[Any]:
        """A stretch of the changelog, whose partitions begin at offset 0 here."""
        records = self.appended.get(("changelog", partition), [])[first:end]
        return [SimpleNamespace(key=key, value=value, headers=headers) for key, value, headers in records]

    def intrude(self, *records: tuple[bytes, bytes | None, int]) -> None:
        """Somebody else appends to the changelog's partition 0: keys, values and epochs."""
        place = ("changelog", 0)
        self.appended[place] += [(key, value, [("epoch", b"%d" % epoch)]) for key, value, epoch in records]
        self.offsets[place] += len(records)

    def create_batch(self) -> FakeBatch:
        return FakeBatch(self._limit)

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        assert batch.closed
        assert batch.records
        self.log.append(("sent", topic, partition))
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._acknowledge, future, batch, topic, partition)
        return future

    def _acknowledge(self, future: asyncio.Future[Any], batch: FakeBatch, topic: str, partition: int) -> None:
        if future.cancelled():
            return
        if topic in self.refuse:
            future.set_exception(RuntimeError(topic))
            return
        self.log.append(("acknowledged", topic, partition))
        place = (topic, partition)
        offset = self.offsets.get(place, 0)
        self.offsets[place] = offset + len(batch.records)
        self.appended.setdefault(place, []).extend(batch.records)
        future.set_result(type("Metadata", (), {"offset": offset})())


def publisher(producer: FakeProducer, stores: PartitionStores, failpoint: str | None = None) -> Publisher:
    made = Publisher(
        producer,
        inputs=INPUTS,
        changelog="changelog",
        counts=COUNTS,
        stores=stores,
        failpoints=Failpoints(failpoint),
        read=producer.read,
        epoch_of=lambda value: value[0],
        now=lambda: dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    )
    made.opened({0: -1, 1: -1})
    return made


def everything(partition: int = 0, epoch: int = 7) -> Effect:
    return Effect(
        partition,
        epoch,
        Taken(
            dead_letters=[Letter(1, 42, b"k", b"{", Refusal("malformed", "data.x", "not JSON"))],
            state=[(b"a", b"state"), (b"gone", None), (b"own", b"record")],
            signals=[("signals.risk", b"a", b"signal", 3)],
            health=[(b"a", b"health"), (b"gone", None)],
        ),
    )


async def test_each_effect_is_awaited_before_the_next_begins() -> None:
    producer, stores = FakeProducer(), in_memory()
    await publisher(producer, stores).publish([everything(0), everything(1)])
    order = [topic for what, topic, _ in producer.log if what == "sent"]
    assert order[: order.index("changelog")] == ["dead-letters"] * order.index("changelog")
    for earlier, later in (("dead-letters", "changelog"), ("changelog", "signals.risk"), ("changelog", "health")):
        acknowledged = max(
            i for i, (what, topic, _) in enumerate(producer.log) if (what, topic) == ("acknowledged", earlier)
        )
        sent = min(i for i, (what, topic, _) in enumerate(producer.log) if (what, topic) == ("sent", later))
        assert acknowledged < sent
    assert stores[0].get(b"a") == b"state"
    assert stores[0].get(b"gone") is None
    assert (stores[0].offset, stores[0].epoch) == (2, 7)


async def test_the_state_of_a_partition_is_one_batch_with_its_own_record_last() -> None:
    producer = FakeProducer()
    await publisher(producer, in_memory()).publish([everything()])
    assert producer.log.count(("sent", "changelog", 0)) == 1
    assert [key for key, _, _ in producer.appended["changelog", 0]] == [b"a", b"gone", b"own"]
    assert producer.appended["changelog", 0][1][2] == [("epoch", b"7")], "a deletion says who wrote it"


async def test_outputs_carry_their_headers() -> None:
    producer = FakeProducer()
    await publisher(producer, in_memory()).publish([everything(1)])
    (letter,) = [
        record for place, records in producer.appended.items() if place[0] == "dead-letters" for record in records
    ]
    assert letter[:2] == (b"k", b"{")
    assert dict(letter[2]) == {
        "reason": b"malformed",
        "field": b"data.x",
        "detail": b"not JSON",
        "source_topic": b"tickets",
        "source_partition": b"1",
        "source_offset": b"42",
        "failed_at": b"2026-01-02T00:00:00Z",
    }
    (signal,) = [
        record for place, records in producer.appended.items() if place[0] == "signals.risk" for record in records
    ]
    assert signal == (b"a", b"signal", [("sequence", b"3")])


@pytest.mark.parametrize("topic", ["dead-letters", "changelog", "signals.risk"])
async def test_a_failed_effect_ends_it_before_the_next(topic: str) -> None:
    producer, stores = FakeProducer(), in_memory()
    producer.refuse = {topic}
    with pytest.raises(RuntimeError, match=topic):
        await publisher(producer, stores).publish([everything()])
    after = {"dead-letters": {"changelog", "signals.risk", "health"}, "changelog": {"signals.risk", "health"}}
    assert not {sent for what, sent, _ in producer.log if what == "sent"} & after.get(topic, set())
    assert (stores[0].get(b"a") is None) == (topic != "signals.risk"), "the local copy is never ahead of the changelog"


@pytest.mark.parametrize("place", [place for place in PLACES if place != "applied"])
async def test_every_failpoint_is_reached_in_order(place: str) -> None:
    producer, stores = FakeProducer(), in_memory()
    with pytest.raises(FailpointReached, match=place):
        await publisher(producer, stores, f"{place}:1:raise").publish([everything()])
    await asyncio.sleep(0)
    reached = PLACES.index(place)
    acknowledged = {topic for what, topic, _ in producer.log if what == "acknowledged"}
    assert ("dead-letters" in acknowledged) == (reached >= PLACES.index("after-dead-letters"))
    assert ("changelog" in {topic for what, topic, _ in producer.log if what == "sent"}) == (
        reached >= PLACES.index("state-sent")
    )
    assert (stores[0].offset >= 0) == (reached >= PLACES.index("state-stored"))


def value(epoch: int, text: str) -> bytes:
    """A state record whose first byte is its writer's epoch."""
    return bytes([epoch]) + text.encode()


def recovered(producer: FakeProducer) -> dict[bytes, bytes]:
    """What a worker that has nothing but the changelog reads of partition 0."""
    fence, found = Fence(0, lambda stored: stored[0]), in_memory()[0]
    log = producer.appended["changelog", 0]
    found.write(fence.accept(SimpleNamespace(key=key, value=said, headers=of) for key, said, of in log), None)
    assert not fence.refused, "everything refused was written again"
    return dict(found.items())


async def opened(producer: FakeProducer, stores: PartitionStores, epoch: int = 7) -> Publisher:
    """A publisher that has claimed partition 0 and written two accounts."""
    publishing = publisher(producer, stores)
    await publishing.claim(0, epoch, [])
    await publishing.publish([Effect(0, epoch, Taken(state=[(b"a", value(epoch, "1")), (b"b", value(epoch, "1"))]))])
    return publishing


async def test_what_a_woken_worker_wrote_is_passed_over_and_its_keys_are_written_again() -> None:
    producer, stores = FakeProducer(), in_memory()
    publishing = await opened(producer, stores)
    producer.intrude((b"a", value(6, "old"), 6), (b"b", value(6, "old"), 6), (b"lost", value(6, "old"), 6))
    await publishing.publish([Effect(0, 7, Taken(state=[(b"a", value(7, "2"))]))])
    assert dict(stores[0].items()) == {b"a": value(7, "2"), b"b": value(7, "1")}
    assert recovered(producer) == dict(stores[0].items())
    assert [key for key, _, _ in producer.appended["changelog", 0][-3:]] == [b"a", b"b", b"lost"]
    assert stores[0].offset == producer.offsets["changelog", 0] - 1
    await publishing.publish([Effect(0, 7, Taken(state=[(b"c", value(7, "1"))]))])
    assert recovered(producer)[b"c"] == value(7, "1")


async def test_a_woken_worker_that_writes_into_the_repair_is_passed_over_too() -> None:
    producer, stores = FakeProducer(), in_memory()
    publishing = await opened(producer, stores)
    producer.intrude((b"b", value(6, "old"), 6))
    read = producer.read

    async def intruding(partition: int, first: int, end: int) -> list[Any]:
        found = await read(partition, first, end)
        producer.intrude((b"a", value(6, "older"), 6))
        publishing._read = read
        return found

    publishing._read = intruding
    await publishing.publish([Effect(0, 7, Taken(state=[(b"c", value(7, "1"))]))])
    assert recovered(producer) == dict(stores[0].items())
    assert stores[0].offset == producer.offsets["changelog", 0] - 1


async def test_until_the_repair_is_written_the_local_copy_stands_before_the_foreign_records() -> None:
    producer, stores = FakeProducer(), in_memory()
    publishing = await opened(producer, stores)
    stood = stores[0].offset
    producer.intrude((b"b", value(6, "old"), 6))
    read = producer.read

    async def refusing(partition: int, first: int, end: int) -> list[Any]:
        producer.refuse = {"changelog"}
        return await read(partition, first, end)

    publishing._read = refusing
    with pytest.raises(RuntimeError, match="changelog"):
        await publishing.publish([Effect(0, 7, Taken(state=[(b"a", value(7, "2"))]))])
    assert stores[0].offset == stood


@pytest.mark.parametrize("epoch", [7, 8])
async def test_a_write_of_no_lower_epoch_means_that_the_partition_is_lost(epoch: int) -> None:
    producer, stores = FakeProducer(), in_memory()
    publishing = await opened(producer, stores)
    producer.intrude((b"b", value(6, "old"), 6), (b"a", value(epoch, "newer"), epoch))
    with pytest.raises(ForeignWrite, match="expected to append at offset 3, got 5"):
        await publishing.publish([Effect(0, 7, Taken(state=[(b"a", value(7, "2"))], signals=[]))])
    assert stores[0].get(b"a") == value(7, "1"), "the local copy is left alone"


async def test_a_changelog_that_lost_records_ends_the_worker() -> None:
    producer, stores = FakeProducer(), in_memory()
    publishing = await opened(producer, stores)
    producer.offsets["changelog", 0] -= 1
    with pytest.raises(ForeignWrite, match="expected to append at offset 3, got 2"):
        await publishing.publish([Effect(0, 7, Taken(state=[(b"a", value(7, "2"))]))])


def written_meanwhile(seen: int, *records: tuple[bytes, bytes, int]) -> tuple[FakeProducer, Any, Publisher]:
    """A changelog that nothing was recovered from but the epoch `seen`, to which records were appended since."""
    producer, stores = FakeProducer(), in_memory()
    if seen:
        stores[0].write([], (-1, seen))
    producer.appended["changelog", 0] = []
    producer.offsets["changelog", 0] = 0
    producer.intrude(*records)
    return producer, stores, publisher(producer, stores)


async def test_what_the_owner_before_wrote_until_the_claim_is_read() -> None:
    producer, stores, publishing = written_meanwhile(5, (b"a", value(6, "late"), 6))
    await publishing.claim(0, 7, [])
    assert dict(stores[0].items()) == {b"a": value(6, "late")} == recovered(producer)
    assert (stores[0].offset, stores[0].epoch) == (1, 7)


@pytest.mark.parametrize(
    ("seen", "written", "refused"),
    [(5, 7, []), (5, 4, []), (5, 6, [b"a"])],
    ids=["by a later owner", "by one that had lost it", "where something is repaired"],
)
async def test_a_claim_after_anything_else_is_given_up(seen: int, written: int, refused: list[bytes]) -> None:
    _, stores, publishing = written_meanwhile(seen, (b"a", value(written, "late"), written))
    with pytest.raises(ForeignWrite, match="expected to append at offset 0, got 1"):
        await publishing.claim(0, 7, refused)
    assert stores[0].offset == -1


async def test_an_effect_that_does_not_fit_into_one_batch_is_refused_before_it_is_sent() -> None:
    producer = FakeProducer(limit=10)
    with pytest.raises(EffectTooLarge, match="EBBTIDE_ENGINE_BATCH"):
        await publisher(producer, in_memory()).publish(
            [Effect(0, 1, Taken(state=[(b"a", b"x" * 9), (b"b", b"y" * 9)]))]
        )
    assert producer.log == []


async def test_many_outputs_go_in_batches_that_their_topics_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects_module, "OUTPUT_BATCH_BYTES", 20)
    producer = FakeProducer()
    health = [(b"a", b"x" * 15) for _ in range(5)]
    await publisher(producer, in_memory()).publish([Effect(0, 1, Taken(state=[(b"o", b"o")], health=list(health)))])
    ((place, records),) = [(place, records) for place, records in producer.appended.items() if place[0] == "health"]
    assert [record[:2] for record in records] == health
    assert producer.log.count(("sent", *place)) == 3


async def test_a_claim_writes_refused_keys_again_with_its_epoch() -> None:
    producer, stores = FakeProducer(), in_memory()
    stores[1].write([(b"a", b"good")], (5, 3))
    publishing = publisher(producer, stores)
    await publishing.claim(1, 4, [b"a", b"never-was"])
    assert producer.appended["changelog", 1] == [
        (b"a", b"good", [("epoch", b"4")]),
        (b"never-was", None, [("epoch", b"4")]),
        (CLAIM_KEY, None, [("epoch", b"4")]),
    ]
    assert (stores[1].offset, stores[1].epoch) == (2, 4)


@pytest.mark.parametrize("wanted", ["nowhere:1:kill", "applied:0:kill", "applied:x:kill", "applied:1:dance"])
def test_a_failpoint_that_does_not_exist_is_refused(wanted: str) -> None:
    with pytest.raises(ValueError, match="FAILPOINT_OF_TEST"):
        Failpoints(wanted)
