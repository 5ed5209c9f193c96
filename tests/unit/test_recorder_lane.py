"""How a lane reads on while it writes, without any server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.common.settings import Settings
from services.signals.recorder import writer
from services.signals.recorder.lane import DECODED_AT_ONCE, Lane
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
    running = asyncio.create_task(lane._record(Connection(), Consumer(1000)))  # type: ignore[arg-type]
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
        await lane._record(Connection(), Consumer(300))  # type: ignore[arg-type]
    assert written == list(range(len(written)))
    assert len(written) >= BATCH


async def test_a_failure_of_kafka_ends_the_session() -> None:
    class Broken(Consumer):
        async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Stored]]:
            raise OSError("gone")

    lane = Lane("test", [TOPIC], lambda record: SimpleNamespace(), None, Settings())  # type: ignore[arg-type]
    with pytest.raises(OSError, match="gone"):
        async with asyncio.timeout(30):
            await lane._record(Connection(), Broken(0))  # type: ignore[arg-type]
