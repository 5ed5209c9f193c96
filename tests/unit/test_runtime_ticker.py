"""When the clock ticks, and when it must not."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from schemas.codec import Refusal, decode
from schemas.envelope import Event
from services.signals.runtime.ticker import CLOCK_PROBATION_S, ClockGuard, Ticker

TOPICS = ("usage", "tickets")
NOW = 1_700_000_000.0


class Partitions:
    def __init__(self) -> None:
        self.ready = [0, 3]
        self.live = [3]

    def tickable(self, *, seen_live: bool) -> list[int]:
        return [number for number in self.ready if not seen_live or number in self.live]


class Producer:
    def __init__(self) -> None:
        self.sent: list[tuple[str, int, bytes]] = []

    async def send(self, topic: str, *, value: bytes, partition: int) -> asyncio.Future[Any]:
        self.sent.append((topic, partition, value))
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


class Clocks:
    def __init__(self) -> None:
        self.wall = NOW
        self.monotonic = 100.0

    def pass_(self, seconds: float, *, jump: float = 0.0) -> None:
        self.wall += seconds + jump
        self.monotonic += seconds


def make(mode: Literal["on", "off", "after-replay"] = "on") -> tuple[Ticker, Producer, Partitions, Clocks]:
    producer, partitions, clocks = Producer(), Partitions(), Clocks()
    ticker = Ticker(
        producer,
        TOPICS,
        partitions,
        mode=mode,
        interval_s=0.01,
        grace_s=60.0,
        wall=lambda: clocks.wall,
        monotonic=lambda: clocks.monotonic,
    )
    return ticker, producer, partitions, clocks


async def test_every_input_topic_of_the_own_partitions_is_told_now_minus_the_grace() -> None:
    ticker, producer, _, _ = make()
    assert await ticker.tick() == 4
    assert [(topic, partition) for topic, partition, _ in producer.sent] == [
        ("usage", 0),
        ("usage", 3),
        ("tickets", 0),
        ("tickets", 3),
    ]
    event = decode("usage", None, producer.sent[0][2])
    assert isinstance(event, Event), event
    assert not isinstance(event, Refusal)
    assert event.data.now.timestamp() == NOW - 60
    assert event.data.historical is False


async def test_nothing_is_sent_where_no_partition_may_be_ticked() -> None:
    ticker, producer, partitions, _ = make()
    partitions.ready = []
    assert await ticker.tick() == 0
    assert producer.sent == []


async def test_after_a_replay_only_partitions_that_a_live_tick_reached() -> None:
    ticker, producer, _, _ = make("after-replay")
    await ticker.tick()
    assert {partition for _, partition, _ in producer.sent} == {3}


async def test_ticks_never_go_back() -> None:
    ticker, producer, _, clocks = make()
    await ticker.tick()
    clocks.pass_(0.5, jump=-0.9)
    assert await ticker.tick() == 0
    clocks.pass_(5)
    assert await ticker.tick() == 4
    assert producer.sent


async def test_no_ticks_while_the_clocks_disagree_and_again_when_they_have_run_together() -> None:
    ticker, producer, _, clocks = make()
    clocks.pass_(5, jump=3600)
    assert await ticker.tick() == 0
    for _ in range(int(CLOCK_PROBATION_S / 5) - 1):
        clocks.pass_(5)
        assert await ticker.tick() == 0
    clocks.pass_(5)
    assert await ticker.tick() == 4
    assert len(producer.sent) == 4


def test_a_clock_that_is_slewed_right_is_no_jump() -> None:
    clocks = Clocks()
    guard = ClockGuard(clocks.wall, clocks.monotonic)
    for _ in range(1000):
        clocks.pass_(5, jump=0.0025)
        assert guard.agrees(clocks.wall, clocks.monotonic)


async def test_off_means_off() -> None:
    ticker, producer, _, _ = make("off")
    await asyncio.wait_for(ticker.run(), 1)
    assert producer.sent == []


async def test_a_tick_that_cannot_be_sent_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ticker, producer, _, clocks = make()

    async def fails(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(producer, "send", fails)
    task = asyncio.ensure_future(ticker.run())
    await asyncio.sleep(0.03)
    monkeypatch.undo()
    clocks.pass_(5)
    await asyncio.sleep(0.03)
    task.cancel()
    assert producer.sent
