"""The worker over the engine double and a producer that keeps what it is given."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.events import INPUT_TOPICS
from services.signals.core.codec import StateError
from services.signals.runtime import worker as worker_module
from services.signals.runtime.checks import InputCut
from services.signals.runtime.effects import CLAIM_KEY, Publisher
from services.signals.runtime.failpoints import Failpoints
from services.signals.runtime.fence import Fence
from services.signals.runtime.poison import PoisonLog
from services.signals.runtime.records import Item, prepare
from services.signals.runtime.stores import PartitionStores, StoreError, in_memory, on_disk
from services.signals.runtime.worker import Worker
from tests.faults.bench import event, tick
from tests.faults.double import DoubleEngine, decode_account, epoch_of
from tests.unit.test_runtime_effects import FakeProducer

T = 1_700_000_000.0
COUNTS = {"dead-letters": 1, "signals.risk": 1, "health": 1}


class Recovered:
    """What the table says after recovery."""

    def __init__(self, stores: PartitionStores) -> None:
        self.failure: Exception | None = None
        self.fences = {number: Fence(0, epoch_of) for number in range(4)}
        self._stores = stores

    def log_end(self, partition: int) -> int:
        return self._stores[partition].offset

    def fence(self, partition: int) -> Fence:
        return self.fences[partition]


class Bench:
    def __init__(self, folder: Path, stores: PartitionStores | None = None, generation: int = 1) -> None:
        self.producer = FakeProducer(limit=1 << 20)
        self.stores = stores or in_memory()
        self.recovered = Recovered(self.stores)
        self.poison = PoisonLog(folder / "poison.json")
        self.ends: Mapping[tuple[str, int], int] = {}
        publisher = Publisher(
            self.producer,
            inputs=INPUT_TOPICS,
            changelog="changelog",
            counts=COUNTS,
            stores=self.stores,
            failpoints=Failpoints(),
            read=self.producer.read,
            epoch_of=epoch_of,
        )
        self.worker = Worker(
            INPUT_TOPICS,
            DoubleEngine,
            self.stores,
            publisher,
            self.poison,
            Failpoints(),
            generation=lambda: generation,
            recovered=lambda: self.recovered,
            ends=self._ends,
        )

    async def _ends(self) -> Mapping[tuple[str, int], int]:
        return self.ends

    def continue_log(self, numbers: list[int]) -> None:
        """The changelog as an earlier worker left it."""
        for number in numbers:
            self.producer.offsets["changelog", number] = self.stores[number].offset + 1


def items(*ids: str, first: int = 0, account: str = "a") -> list[Item]:
    records = [
        SimpleNamespace(
            offset=first + place,
            key=account.encode(),
            value=event("usage", account, name, T),
            headers=(),
            timestamp=round(time.time() * 1000),
        )
        for place, name in enumerate(ids)
    ]
    return prepare(0, "usage", 0, records)[1]


def ticks(offset: int) -> list[Item]:
    record = SimpleNamespace(offset=offset, key=None, value=tick(T, historical=True), headers=(), timestamp=0)
    return [prepare(index, topic, 0, [record])[1][0] for index, topic in enumerate(INPUT_TOPICS)]


async def test_while_state_is_read_others_get_their_turn_and_nothing_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand accounts take seconds: metrics, readiness and SIGTERM must not wait for them."""
    bench = Bench(tmp_path)
    began, may_end = threading.Event(), threading.Event()

    def restore(engine: DoubleEngine) -> None:
        began.set()
        assert may_end.wait(10)

    monkeypatch.setattr(DoubleEngine, "restore", restore)
    opening = asyncio.create_task(bench.worker.open_partitions([0]))
    assert await asyncio.to_thread(began.wait, 5)
    assert not bench.worker.engines, "nothing is open before it is read"
    assert bench.stores.reading.locked(), "a rebalance waits with closing stores"
    may_end.set()
    assert await opening == {0: ([-1] * 5, [False] * 5)}
    assert not bench.stores.reading.locked()


@pytest.mark.parametrize("stores", [in_memory, None], ids=["memory", "disk"])
async def test_who_stops_while_state_is_read_waits_until_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stores: Any
) -> None:
    """A copy that is closed under its reader takes the process down."""
    bench = Bench(tmp_path)
    opened = stores() if stores is not None else on_disk(tmp_path / "state")
    store = opened[0]
    store.write([(b"a%d" % number, b"x") for number in range(1000)], (999, 1))
    bench.worker._stores = opened
    read: list[bytes] = []
    began, ended = threading.Event(), threading.Event()

    def restore(engine: DoubleEngine) -> None:
        try:
            for key, value in store.items():
                read.append(key + value)
                began.set()
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(DoubleEngine, "restore", restore)
    opening = asyncio.create_task(bench.worker.open_partitions([0]))
    assert await asyncio.to_thread(began.wait, 5)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert ended.is_set()
    assert len(read) < 900
    opened.close()


async def test_partitions_that_moved_while_they_were_read_are_not_open(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    generations = iter([1, 1, 2])
    bench.worker._generation = lambda: next(generations)
    assert await bench.worker.open_partitions([0, 1]) == {}
    assert not bench.worker.engines


async def test_a_batch_becomes_state_and_signals(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    opened = await bench.worker.open_partitions([0, 2])
    assert opened == {number: ([-1] * 5, [False] * 5) for number in (0, 2)}
    await bench.worker.process({0: items("1", "2", "3", "4", "5"), 2: items("6", account="b")})
    assert decode_account(bench.stores[0].get(b"a") or b"").count == 5
    assert decode_account(bench.stores[2].get(b"b") or b"").count == 1
    assert [key for key, _, _ in bench.producer.appended["signals.risk", 0]] == [b"a"]
    assert sorted(bench.worker.positions())[-2:] == [("usage", 0, 4), ("usage", 2, 0)]


async def test_what_one_batch_changes_is_cut_into_record_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "CUT_BYTES", 200)
    monkeypatch.setattr(worker_module, "APPLY_AT_ONCE", 1)
    bench = Bench(tmp_path)
    await bench.worker.open_partitions([0])
    many = [item for n in range(6) for item in items(f"{n}", first=n, account=f"account-{n}")]
    await bench.worker.process({0: many})
    assert bench.producer.log.count(("sent", "changelog", 0)) == 1 + 3
    assert len(list(bench.stores[0].items())) == 7


async def test_a_new_assignment_writes_under_a_higher_epoch_and_says_the_last_effect_again(tmp_path: Path) -> None:
    first = Bench(tmp_path, generation=4)
    await first.worker.open_partitions([0])
    await first.worker.process({0: items("1", "2", "3", "4", "5")})
    second = Bench(tmp_path, stores=first.stores, generation=2)
    second.continue_log([0])
    await second.worker.open_partitions([0])
    await second.worker.process({})
    assert second.producer.appended["signals.risk", 0] == first.producer.appended["signals.risk", 0]
    assert {epoch_of(value) for _, value in first.stores[0].items()} == {5}


async def test_refused_keys_are_repaired_before_the_first_record(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.stores[0].write([(b"x", b"good")], (7, 3))
    bench.continue_log([0])
    bench.recovered.fences[0].refused = {b"x": None, b"never": None}
    bench.worker._make_engine = lambda number, store: DoubleEngine(number, in_memory()[0])
    await bench.worker.open_partitions([0])
    assert bench.producer.appended["changelog", 0] == [
        (b"x", b"good", [("epoch", b"4")]),
        (b"never", None, [("epoch", b"4")]),
        (CLAIM_KEY, None, [("epoch", b"4")]),
    ]
    assert not bench.recovered.fences[0].refused


async def test_a_record_that_raises_is_counted_and_ends_the_batch(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.worker.open_partitions([0])
    bench.producer.log.clear()
    for _ in range(3):
        with pytest.raises(ValueError, match="crash-me"):
            await bench.worker.process({0: items("fine", "crash-me", "next", first=10)})
    assert bench.poison.diverted("usage", 0) == {11}
    assert bench.producer.log == []


@pytest.mark.parametrize("failure", [StoreError(Path("state"), "input/output error"), StateError("of a newer format")])
async def test_a_disk_or_state_that_fails_puts_no_record_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    bench = Bench(tmp_path)
    await bench.worker.open_partitions([0])

    def fails(key: bytes) -> bytes | None:
        raise failure

    monkeypatch.setattr(bench.stores[0], "get", fails)
    for _ in range(3):
        with pytest.raises(type(failure)):
            await bench.worker.process({0: items("fine")})
    assert not bench.poison.diverted("usage", 0)


async def test_a_failed_recovery_is_not_gone_past(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.recovered.failure = ValueError("undecodable")
    with pytest.raises(ValueError, match="undecodable"):
        await bench.worker.open_partitions([0])


async def test_inputs_that_were_made_again_are_refused(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    await first.worker.open_partitions([0])
    await first.worker.process({0: items("1", "2")})
    second = Bench(tmp_path, stores=first.stores)
    second.continue_log([0])
    second.ends = {("usage", 0): 1}
    with pytest.raises(InputCut):
        await second.worker.open_partitions([0])


async def test_partitions_are_ticked_once_settled_and_not_in_a_replay(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.worker.open_partitions([0, 1])
    assert bench.worker.tickable(seen_live=False) == []
    merge: Any = SimpleNamespace(is_historical=False)
    bench.worker.stream = SimpleNamespace(settled=True, behind=False, merges={0: merge, 1: merge})  # type: ignore[assignment]
    assert bench.worker.tickable(seen_live=False) == [0, 1]
    assert bench.worker.tickable(seen_live=True) == [], "no tick was seen yet"
    await bench.worker.process({1: ticks(0)})
    assert bench.worker.tickable(seen_live=False) == [0]
