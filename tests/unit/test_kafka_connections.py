"""A connection that was reset is a connection error, whatever the loop calls it; a broker that is away is asked seldom."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

from services.common import kafka_connections
from services.common.kafka_connections import FIRST_PAUSE_S, LONGEST_PAUSE_S, Attempts


class Reset(AIOKafkaConnection):  # type: ignore[misc]
    """Made without a socket; `send` is the product's."""

    def __init__(self) -> None:
        self.closed = False

    @property
    def _writer(self) -> object:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self, reason: object = None, exc: object = None) -> None:
        self.closed = True

    def __del__(self) -> None:
        """Nothing was opened."""


def test_a_write_to_a_closed_transport_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Reset()
    monkeypatch.setattr(AIOKafkaConnection, "send", AIOKafkaConnection.send)  # put back after the test
    with pytest.raises((RuntimeError, KafkaConnectionError)):
        connection.send(None)
    kafka_connections.outlive_closed_connections()
    kafka_connections.outlive_closed_connections()
    with pytest.raises(KafkaConnectionError, match="handler is closed"):
        connection.send(None)
    assert connection.closed


def test_pauses_between_attempts_grow_to_a_second_and_end_with_an_answer() -> None:
    attempts = Attempts()
    assert attempts.wait("a", 0.0) == 0
    now, pauses = 0.0, []
    for _ in range(7):
        attempts.begin("a", now)
        attempts.failed("a", now)
        pauses.append(attempts.wait("a", now))
        now += pauses[-1]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])
    assert (FIRST_PAUSE_S, LONGEST_PAUSE_S) == (0.1, 1.0)
    assert attempts.wait("b", now - 0.5) == 0, "another broker has pauses of its own"
    attempts.succeeded("a")
    assert attempts.wait("a", now - 0.5) == 0


class Brokers:
    """A client as far as connecting goes: brokers by number, of which some answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answering: int, brokers: tuple[int, ...]) -> None:
        self.asked: list[int] = []
        self.answering = set(answering)
        self._conns: dict[Any, Any] = {}
        self.cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=node) for node in brokers])

        async def stock(self: Brokers, node: int, *, group: Any = 0, no_hint: bool = False) -> Any:
            self.asked.append(node)
            await asyncio.sleep(0)
            return SimpleNamespace(connected=lambda: True) if node in self.answering else None

        monkeypatch.setattr(AIOKafkaClient, "_get_conn", stock)
        kafka_connections.pause_between_attempts()

    async def connect(self, node: int) -> Any:
        return await AIOKafkaClient._get_conn(self, node)

    async def insist(self, node: int, seconds: float) -> Any:
        """As a client's routine does: ten times a second, until there is a connection or the time is up."""
        until = asyncio.get_running_loop().time() + seconds
        found = None
        while found is None and asyncio.get_running_loop().time() < until:
            found = await self.connect(node)
            if found is None:
                await asyncio.sleep(0.1)
        return found


def test_many_routines_that_want_one_broker_make_one_attempt_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Brokers(monkeypatch, brokers=(1,))

    async def scene() -> list[Any]:
        wanting = [asyncio.create_task(client.insist(1, 5.0)) for _ in range(10)]
        await asyncio.sleep(1.2)
        # All ten at once as long as nothing has failed yet; then after 0.1, 0.3 and 0.7 s.
        assert 11 <= len(client.asked) <= 14, client.asked
        client.answering.add(1)
        return await asyncio.wait_for(asyncio.gather(*wanting), LONGEST_PAUSE_S + 0.5)

    assert all(asyncio.run(scene()))


def test_a_broker_that_is_away_is_not_waited_for_while_another_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Brokers(monkeypatch, 2, brokers=(1, 2))

    async def scene() -> None:
        assert await client.connect(1) is None
        async with asyncio.timeout(FIRST_PAUSE_S / 2):
            assert await client.connect(1) is None
            assert await client.connect(2)
        assert client.asked == [1, 2]

    asyncio.run(scene())
