"""The guarded runtime: the consumer's stock loop and public names only, for the day on which private ones move.

`getmany` is where the stock loop gets its messages from. Here it keeps those of the input topics, under the same guard as
the chunked runtime, and passes the changelog's on. Positions are committed by acknowledging each message.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple, cast

from faust.types import TP

from services.signals.runtime.source import PAUSED_POLL_S, InputConsumer

POSITIONS_EVERY_S: Final = 1.0
"""How often positions of partitions that seem to be behind are asked for: each costs a call into the client's thread."""


MOST_ACKNOWLEDGED_MISSING: Final = 100_000
"""Faust counts offsets one by one. A larger hole in mid-log holds the commits back until the next assignment."""


class Missing:
    """Stands in for the message of an offset that does not exist."""

    def __init__(self, tp: TP, offset: int) -> None:
        self.tp = tp
        self.topic = tp.topic
        self.offset = offset
        self.acked = False


class Record(NamedTuple):
    """A Faust message as a record of a chunk; `timestamp` in milliseconds."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any
    timestamp: int


class GuardedConsumer(InputConsumer):
    """Takes the input topics' messages out of `getmany`."""

    def _book(self) -> None:
        super()._book()
        self._unapplied: dict[TP, deque[Any]] = {}
        self._acknowledged: dict[TP, int] = {}
        self._positions_at = 0.0

    def _reset(self) -> None:
        super()._reset()
        self._unapplied.clear()
        self._acknowledged.clear()

    def _forget(self, tp: TP) -> None:
        self._unapplied.pop(tp, None)

    def _mark(self, tp: TP) -> int | None:
        try:
            return self.highwater(tp)
        except Exception:  # not assigned (any more): the client says so in several ways
            return None

    async def _positions(self, own: list[TP]) -> Mapping[TP, int]:
        now = time.monotonic()
        if now < self._positions_at + POSITIONS_EVERY_S:
            return {}
        self._positions_at = now
        found: dict[TP, int] = {}
        for tp in own:
            if tp not in self._paused and not self._waiting[tp] and self.behind(*tp):
                try:
                    async with asyncio.timeout(PAUSED_POLL_S):
                        position = await self.position(tp)
                except TimeoutError:
                    continue
                if position is not None:
                    found[tp] = position
        return found

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """What was committed, or where the log begins by now: Faust commits nothing past offsets that it misses."""
        found = await super().seek_to_committed()
        committed = [tp for tp, offset in found.items() if self._is_input(tp) and offset is not None and offset >= 0]
        starts = await self.earliest_offsets(*committed) if committed else {}
        return {tp: max(offset, starts[tp]) if tp in starts else offset for tp, offset in found.items()}

    def _commit_to(self, tp: TP, next_offset: int) -> None:
        messages = self._unapplied.get(tp, deque())
        while messages and messages[0].offset < next_offset:
            message = messages.popleft()
            self._acknowledge_hole(tp, message.offset)
            self.ack(message)
            self._acknowledged[tp] = message.offset + 1
        self._acknowledge_hole(tp, next_offset)

    def _acknowledge_hole(self, tp: TP, end: int) -> None:
        """Acknowledge what does not exist between what was acknowledged last and `end`."""
        first = self._acknowledged.get(tp, self._began.get(tp, end))
        if end - first <= MOST_ACKNOWLEDGED_MISSING:
            for offset in range(first, end):
                self.ack(cast(Any, Missing(tp, offset)))
        self._acknowledged[tp] = max(first, end)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109  # Faust's
        """The changelog's messages of one fetch. Those of the input topics are queued for the stream."""
        calm = self._calm()
        if calm:
            await self._wind_back()
        generation, epoch = self.app.consumer_generation_id, self.epoch
        if calm and self._paused and self._paused.issuperset(self._own()):
            await asyncio.sleep(PAUSED_POLL_S)  # the stock loop sleeps a second when all are paused
            return
        fetched: dict[TP, list[Any]] = {}
        async for tp, message in super().getmany(PAUSED_POLL_S if self._paused else timeout):
            if self._is_input(tp):
                fetched.setdefault(TP(tp.topic, tp.partition), []).append(message)
            else:
                yield tp, message
        for tp, messages in fetched.items():
            if self._fresh(calm, generation, epoch):
                before = self._waiting[tp]
                self._accept(tp, [_record(message) for message in messages])
                new = self._waiting[tp] - before
                if new:
                    self._unapplied.setdefault(tp, deque()).extend(messages[-new:])
            else:
                self._refuse(tp, messages)


def _record(message: Any) -> Record:
    return Record(message.offset, message.key, message.value, message.headers, round(message.timestamp * 1000))
