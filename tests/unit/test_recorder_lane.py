"""How a lane reads on while it writes, without any server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.common.kafka import partition_of
from services.common.settings import Settings
from services.signals.recorder import writer
from services.signals.recorder.lane import DECODED_AT_ONCE, Lane, sharing
from tests.recorded import Stored

TOPIC = "signals.risk"
BATCH = 100


class Consumer:
    """Hands out records of one partition, as many at once as it is asked for."""

    def __init__(self, count: int) -> None:
        self.records = [Stored(TOPIC, 0, offset, 0, b"k", str(offset).encode()) for offset in range(count)]

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Stored]]:
        await asyncio.sleep(0 if self.records else timeout_ms / 1000)
        found, self.records = self.records[:BATCH], self.records[BATCH:]
        return {TopicPartition(TOPIC, 0): found} if found else {}

    def highwater(self, partition: TopicPartition) -> int | None:
        return None


class Connection:
    """Counts questions; a transaction here is nothing but an order of calls."""

    def __init__(self) -> None:
        self.asked = 0

    async def fetchval(self, query: str) -> int:
        self.asked += 1
        return 1

    def transaction(self) -> Any:
        class Nothing:
            async def __aenter__(self) -> None: ...
            async def __aexit__(self, *error: object) -> None: ...

        return Nothing()


async def test_the_next_batches_are_decoded_while_one_is_written_and_no_more(monkeypatch: Any) -> None:
    decoded: list[int] = []
    written: list[tuple[int, int]] = []
    moved: list[dict[tuple[str, int], int]] = []
    go_on = asyncio.Event()
    begun = asyncio.Event()
    stop = asyncio.Event()

    def row_of(record: Stored) -> int:
        decoded.append(record.offset)
        return record.offset

    async def write(connection: Any, rows: list[int]) -> Callable[[], None]:
        begun.set()
        await go_on.wait()
        assert rows == list(range(rows[0], rows[-1] + 1)), "in order, without a gap"
        assert moved[-1] == {(TOPIC, 0): rows[-1] + 1}, "the offsets are those of the rows"
        written.append((rows[0], rows[-1]))
        if rows[-1] == 999:
            stop.set()
        return lambda: None

    async def offsets(connection: Any, to: dict[tuple[str, int], int]) -> None:
        moved.append(to)

    monkeypatch.setattr(writer, "write_offsets", offsets)
    lane = Lane("test", [TOPIC], row_of, write, Settings(), batch=BATCH)
    lane._stop = stop
    running = asyncio.create_task(lane._record([Connection()], Consumer(1000)))  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        await begun.wait()
        await asyncio.sleep(0.1)
        held = len(decoded)
        assert BATCH * 3 <= held < BATCH * 4 + DECODED_AT_ONCE, "one batch is written, two more wait, and that is all"
        go_on.set()
        await running
    assert written[0][0] == 0
    assert [first for first, _ in written[1:]] == [last + 1 for _, last in written[:-1]]
    assert all(last - first < BATCH for first, last in written), "at most a batch in one transaction"


async def test_what_was_read_is_written_when_it_is_told_to_stop(monkeypatch: Any) -> None:
    written: list[int] = []
    moved: list[dict[tuple[str, int], int]] = []
    stop = asyncio.Event()

    async def write(connection: Any, rows: list[int]) -> Callable[[], None]:
        stop.set()
        assert moved[-1] == {(TOPIC, 0): rows[-1] + 1}
        written.extend(rows)
        return lambda: None

    async def offsets(connection: Any, to: dict[tuple[str, int], int]) -> None:
        moved.append(to)

    monkeypatch.setattr(writer, "write_offsets", offsets)
    lane = Lane("test", [TOPIC], lambda record: record.offset, write, Settings(), batch=BATCH)
    lane._stop = stop
    async with asyncio.timeout(30):
        await lane._record([Connection()], Consumer(300))  # type: ignore[arg-type]
    assert written == list(range(len(written)))
    assert len(written) >= BATCH


async def test_a_failure_of_kafka_ends_the_session() -> None:
    class Broken(Consumer):
        async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Stored]]:
            raise OSError("gone")

    lane = Lane("test", [TOPIC], lambda record: SimpleNamespace(), None, Settings())  # type: ignore[arg-type]
    with pytest.raises(OSError, match="gone"):
        async with asyncio.timeout(30):
            await lane._record([Connection()], Broken(0))  # type: ignore[arg-type]


class Spread(Consumer):
    """Hands out 1,000 records of each of four partitions of two topics, from one partition after the other."""

    def __init__(self) -> None:
        super().__init__(0)
        self.left = [
            [Stored(topic, partition, offset, 0, b"k", b"") for offset in range(first, first + BATCH)]
            for first in range(0, 1000, BATCH)
            for topic in ("signals.risk", "health")
            for partition in range(4)
        ]

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Stored]]:
        await asyncio.sleep(0 if self.left else timeout_ms / 1000)
        if not self.left:
            return {}
        found = self.left.pop(0)
        return {TopicPartition(found[0].topic, found[0].partition): found}


async def test_two_writers_have_partitions_of_their_own_and_neither_waits_for_the_other(monkeypatch: Any) -> None:
    even, odd = Connection(), Connection()
    written: dict[Connection, list[Stored]] = {even: [], odd: []}
    moved: dict[Connection, dict[tuple[str, int], int]] = {even: {}, odd: {}}
    both = asyncio.Barrier(2)
    stop = asyncio.Event()

    async def write(connection: Connection, rows: list[Stored]) -> Callable[[], None]:
        if not written[connection]:
            # Passed only by two that are in a transaction at one time.
            await both.wait()
        written[connection] += rows
        if sum(map(len, written.values())) == 8000:
            stop.set()
        return lambda: None

    async def offsets(connection: Connection, to: dict[tuple[str, int], int]) -> None:
        moved[connection].update(to)

    monkeypatch.setattr(writer, "write_offsets", offsets)
    lane = Lane("test", ["signals.risk", "health"], lambda record: record, write, Settings(), batch=BATCH, writers=2)
    lane._stop = stop
    async with asyncio.timeout(30):
        await lane._record([even, odd], Spread())  # type: ignore[arg-type]
    for connection, own in ((even, (0, 2)), (odd, (1, 3))):
        places = [(topic, partition) for topic in ("signals.risk", "health") for partition in own]
        assert moved[connection] == dict.fromkeys(places, 1000), "no offset of another's partition"
        for place in places:
            found = [record.offset for record in written[connection] if (record.topic, record.partition) == place]
            assert found == list(range(1000)), "each once and in order"


async def test_a_writer_that_fails_ends_the_session_of_both(monkeypatch: Any) -> None:
    even, odd = Connection(), Connection()
    ended = asyncio.Event()

    async def write(connection: Connection, rows: list[Stored]) -> Callable[[], None]:
        if connection is odd:
            raise ConnectionResetError("gone")
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return lambda: None

    async def offsets(connection: Connection, to: dict[tuple[str, int], int]) -> None: ...

    monkeypatch.setattr(writer, "write_offsets", offsets)
    lane = Lane("test", ["signals.risk", "health"], lambda record: record, write, Settings(), batch=BATCH, writers=2)
    with pytest.raises(ConnectionResetError, match="gone"):
        async with asyncio.timeout(30):
            await lane._record([even, odd], Spread())  # type: ignore[arg-type]
    assert ended.is_set()


@pytest.mark.parametrize(
    ("counts", "together"), [((4, 4, 4), 2), ((4, 4, 6), 2), ((3, 3, 3), 1), ((4, 4, 3), 1), ((1, 1, 1), 1)]
)
def test_partitions_are_shared_out_only_where_a_key_keeps_its_writer(counts: tuple[int, ...], together: int) -> None:
    assert sharing(2, counts) == together
    if together == 2:
        for key in (f"acct-{n}".encode() for n in range(500)):
            assert len({partition_of(key, count) % 2 for count in counts}) == 1
