"""How aiokafka's connections are to fail: as connection errors, and with pauses. For every process that uses aiokafka."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 1.0
"""Between attempts to connect to one broker: no longer than anybody should wait for one that is back."""


def mend() -> None:
    """Put both right, once and for all clients of this process."""
    outlive_closed_connections()
    pause_between_attempts()


def outlive_closed_connections() -> None:
    """Make a write to a connection that was reset a moment ago what it is to every caller: a connection error.

    uvloop says RuntimeError there, where asyncio's own loop says OSError. aiokafka waits out the one; the other ends the
    consumer's coordination, and with it the process.
    """
    if getattr(AIOKafkaConnection.send, "mended", False):
        return
    stock = AIOKafkaConnection.send

    @functools.wraps(stock)
    def send(self: Any, request: Any, expect_response: bool = True) -> Any:
        try:
            return stock(self, request, expect_response)
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"the connection was closed: {error}") from error

    send.mended = True  # type: ignore[attr-defined]
    AIOKafkaConnection.send = send


class Attempts:
    """When one client may try again to connect to the brokers that did not answer it. Times are the event loop's."""

    def __init__(self) -> None:
        self._away: dict[Any, tuple[float, float]] = {}

    def wait(self, node: Any, now: float) -> float:
        """Seconds until an attempt at `node` is due, 0 when it is."""
        due, _ = self._away.get(node, (now, 0.0))
        return max(0.0, due - now)

    def begin(self, node: Any, now: float) -> None:
        """An attempt is made. If the last one failed, the next one is due after a pause, twice as long each time."""
        if node in self._away:
            pause = min(2 * self._away[node][1], LONGEST_PAUSE_S)
            self._away[node] = (now + pause, pause)

    def failed(self, node: Any, now: float) -> None:
        """It does not answer."""
        self._away.setdefault(node, (now + FIRST_PAUSE_S, FIRST_PAUSE_S))

    def succeeded(self, node: Any) -> None:
        """It answers."""
        self._away.pop(node, None)


def pause_between_attempts() -> None:
    """Let a client wait between attempts to connect to a broker that is away.

    Each of a stock client's routines tries by itself ten times a second, and each failure asks for one attempt more: some
    forty a second and client. A broker is not waited for while another one might answer; that one is asked instead.
    """
    if getattr(AIOKafkaClient._get_conn, "mended", False):
        return
    stock: Callable[..., Awaitable[Any]] = AIOKafkaClient._get_conn
    clients: WeakKeyDictionary[Any, Attempts] = WeakKeyDictionary()

    @functools.wraps(stock)
    async def get_conn(self: Any, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, **options: Any) -> Any:
        held = self._conns.get((node_id, group))
        if held is not None and held.connected():
            return held
        attempts = clients.setdefault(self, Attempts())
        now = asyncio.get_running_loop().time
        left = attempts.wait(node_id, now())
        if left:
            if any(not attempts.wait(broker.nodeId, now()) for broker in self.cluster.brokers()):
                return None
            await asyncio.sleep(left)
            if attempts.wait(node_id, now()):
                return None  # somebody else has tried meanwhile
        attempts.begin(node_id, now())
        connection = await stock(self, node_id, group=group, **options)
        if connection is None:
            attempts.failed(node_id, now())
        else:
            attempts.succeeded(node_id)
        return connection

    get_conn.mended = True  # type: ignore[attr-defined]
    AIOKafkaClient._get_conn = get_conn
