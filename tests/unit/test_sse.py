"""Server-sent events: what is sent, and that a stream ends for each of its reasons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from services.api.sse import HEARTBEAT, Event, EventStream, encode


def test_an_event_is_written_as_the_standard_says() -> None:
    assert encode(Event('{"a":1}', event="signal", id="7")) == b'id: 7\nevent: signal\ndata: {"a":1}\n\n'
    assert encode(Event(None, id="8")) == b"id: 8\n\n"
    assert encode(Event("one\r\ntwo\rthree")) == b"data: one\ndata: two\ndata: three\n\n"


@pytest.mark.parametrize("event", [Event("x", id="1\ndata: forged"), Event("x", event="a\rb"), Event("x", id="\0")])
def test_a_line_break_forges_no_field(event: Event) -> None:
    with pytest.raises(ValueError, match="line break"):
        encode(event)


class Listener:
    """An ASGI peer: hears what is sent, and hangs up when told."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended = False
        self.hang_up = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.hang_up.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.heard += message["body"]
            self.ended = not message["more_body"]


class Source:
    """Events one by one, then silence. `closed` says that its end was run."""

    def __init__(self, *events: Event, then: Exception | None = None, silent: bool = True) -> None:
        self.closed = False
        self._events = events
        self._then = then
        self._silent = silent

    async def run(self) -> AsyncGenerator[Event]:
        try:
            for event in self._events:
                yield event
            if self._then is not None:
                raise self._then
            if self._silent:
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def served(source: Source, listener: Listener, stop: asyncio.Event, **options: Any) -> None:
    stream = EventStream(source.run(), stop, **options)
    async with asyncio.timeout(5):
        await stream({"type": "http"}, listener.receive, listener.send)


async def test_ends_when_its_life_is_over_and_beats_until_then() -> None:
    listener, source = Listener(), Source(Event("one"))
    await served(source, listener, asyncio.Event(), life_s=0.2, heartbeat_s=0.05)
    assert listener.heard.startswith(b"retry: 3000\n\ndata: one\n\n" + HEARTBEAT)
    assert listener.ended
    assert source.closed


async def test_ends_when_the_process_stops() -> None:
    listener, source, stop = Listener(), Source(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)
    await served(source, listener, stop)
    assert listener.ended
    assert source.closed


async def test_ends_when_the_listener_is_gone() -> None:
    listener, source = Listener(), Source()
    asyncio.get_running_loop().call_later(0.05, listener.hang_up.set)
    await served(source, listener, asyncio.Event())
    assert source.closed


async def test_ends_with_what_it_reads() -> None:
    listener, source = Listener(), Source(Event("last"), silent=False)
    await served(source, listener, asyncio.Event())
    assert listener.heard.endswith(b"data: last\n\n")
    assert listener.ended


async def test_a_listener_that_takes_nothing_does_not_hold_it() -> None:
    source, stop = Source(Event("one")), asyncio.Event()

    async def stuck(message: Any) -> None:
        if b"data" in message.get("body", b""):
            await asyncio.Event().wait()

    asyncio.get_running_loop().call_later(0.05, stop.set)
    async with asyncio.timeout(3):
        await EventStream(source.run(), stop)({"type": "http"}, Listener().receive, stuck)
    assert source.closed


async def test_a_failure_is_raised_once_it_is_closed() -> None:
    listener, source = Listener(), Source(then=RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        await served(source, listener, asyncio.Event())
    assert source.closed


async def test_head_sends_nothing_and_ends() -> None:
    listener, source = Listener(), Source()
    async with asyncio.timeout(1):
        await EventStream(source.run(), asyncio.Event())({"head": True}, listener.receive, listener.send)
    assert listener.heard == b""
    assert listener.ended
