"""Server-sent events: how one is written, and a response that ends by itself when it should.

It ends when what it reads ends, when whoever listens is gone, when its life is over, and when the process is told to
stop: an open stream must not hold a restart up. A client comes back by itself after `retry` milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, Protocol

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0
"""After so long without an event a comment is sent: proxies close what is silent, and a peer that is gone is noticed."""
RETRY_MS: Final = 3000
LIFE_S: Final = 15 * 60.0
GOODBYE_S: Final = 1.0

HEARTBEAT: Final = b": still here\n\n"


class Event(Struct, frozen=True):
    """One event. `id` is what a client sends back as `Last-Event-ID`; `event` names its kind ("message" where absent).

    Without data there is no event: it only moves the id, and does as a heartbeat.
    """

    data: str | None
    event: str | None = None
    id: str | None = None


def encode(event: Event) -> bytes:
    """An event as it is sent. A line break in `event` or `id` would forge another field: such a value is refused."""
    lines = []
    for name, value in (("id", event.id), ("event", event.event)):
        if value is not None:
            if any(character in value for character in "\r\n\0"):
                raise ValueError(f"{name}: a line break or U+0000 cannot be part of it")
            lines.append(f"{name}: {value}")
    if event.data is not None:
        lines += [f"data: {line}" for line in event.data.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


def stopping(request: Request) -> asyncio.Event:
    """What is set once the process is told to stop."""
    found: asyncio.Event = request.app.state.stopping
    return found


class Source(Protocol):
    """What a stream reads. A generator is one; but where it was never begun, closing it runs nothing of it."""

    async def __anext__(self) -> Event:
        """The next event. Raises StopAsyncIteration at the end."""

    async def aclose(self) -> None:
        """Nobody listens any more."""


class EventStream(Response):
    """`events` as a response. It is closed however the response ends.

    What `events` raises ends the stream: a client comes back, and is told with a status what is wrong.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        events: Source,
        stop: asyncio.Event,
        *,
        life_s: float = LIFE_S,
        heartbeat_s: float = HEARTBEAT_S,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(headers={"x-accel-buffering": "no"} | (headers or {}))
        del self.headers["content-length"]
        self._events = events
        self._stop = stop
        self._life_s = life_s
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until it ends."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            if not scope.get("head"):
                await self._send_all(receive, send)
        finally:
            await self._events.aclose()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(GOODBYE_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._pump(send))
        others = [asyncio.create_task(_gone(receive)), asyncio.create_task(self._stop.wait())]
        try:
            await asyncio.wait([sending, *others], timeout=self._life_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, *others):
                task.cancel()
            results = await asyncio.gather(sending, *others, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _pump(self, send: Send) -> None:
        async def write(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        await write(b"retry: %d\n\n" % RETRY_MS)
        while True:
            following = asyncio.ensure_future(self._next())
            try:
                # Waited for beside it, never with a timeout around it: that would end the generator.
                while not (await asyncio.wait([following], timeout=self._heartbeat_s))[0]:
                    await write(HEARTBEAT)
            except BaseException:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                raise
            event = following.result()
            if event is None:
                return
            await write(encode(event))

    async def _next(self) -> Event | None:
        try:
            return await self._events.__anext__()
        except StopAsyncIteration:
            return None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
