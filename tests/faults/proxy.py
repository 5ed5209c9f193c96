"""A network that can be made bad: a TCP forwarder of our own between a client and a server on loopback.

Real sockets and the kernel's own behaviour: a stall keeps connections open and lets nothing through, a reset is a TCP
reset in both directions, with whatever was on its way lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

CHUNK: Final = 16 * 1024
"""Most bytes in hand per direction: what a reset loses beyond the kernel's buffers."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections from `127.0.0.1:port` to `127.0.0.1:target`, in a thread with an event loop of its own.

    `counts` holds `connections`, `refused` (the target was not there), `resets` and `bytes`.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.counts: Counter[str] = Counter()
        self._open: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._flowing: asyncio.Event
        self._end: asyncio.Event
        self._listening = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"proxy-{port}", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._listening.wait(10)
        if self._problem is not None:
            raise self._problem
        return self

    def __exit__(self, *_: object) -> None:
        self._in_loop(lambda: self._end.set())
        self._thread.join(10)

    def stall(self) -> None:
        """Forward nothing any more, in either direction; connections stay, and new ones are taken."""
        self._in_loop(lambda: self._flowing.clear())

    def resume(self) -> None:
        """Forward again at full speed, what waited first."""

        def resume() -> None:
            self._delay_s = 0.0
            self._flowing.set()

        self._in_loop(resume)

    def slow(self, delay_s: float) -> None:
        """Hold every piece of at most 16 KiB back for `delay_s` seconds, in each direction."""

        def slow() -> None:
            self._delay_s = delay_s

        self._in_loop(slow)

    def reset(self) -> int:
        """Reset every open connection; returns how many. New connections are forwarded as before."""

        def reset() -> int:
            pairs = list(self._open)
            for pair in pairs:
                for writer in pair:
                    _reset(writer)
            self.counts["resets"] += len(pairs)
            return len(pairs)

        return int(self._in_loop(reset))

    def _in_loop(self, act: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return act()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._problem = error
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        self._flowing, self._end = asyncio.Event(), asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(self._forward, "127.0.0.1", self.port, limit=CHUNK)
        self._listening.set()
        await self._end.wait()
        server.close()
        for pair in list(self._open):
            for writer in pair:
                writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
        except OSError:
            self.counts["refused"] += 1
            _reset(writer)
            return
        self.counts["connections"] += 1
        pair = (writer, far_writer)
        self._open.add(pair)
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._open.discard(pair)
            for each in pair:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await asyncio.sleep(self._delay_s)
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
                self.counts["bytes"] += len(data)
            if not writer.is_closing():
                writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and not writer.transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
