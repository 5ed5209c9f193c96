"""One topic's log in more partitions: which record comes next, and where it goes. Pure: no client, no clock.

Each account's records keep their order, because all of them come from one partition. Between partitions the order is that
in which the engine takes topics: by a clock that never falls, which is the event's time, in a replay the place in the
replayed file. A broadcast is in every source partition once and comes to be in every new one once. A tick says that
everything before it is older than it: of a new partition that is true only once every source partition has said so.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from schemas.codec import Refusal, decode
from schemas.envelope import Event
from schemas.events.control import Tick
from services.common.kafka import partition_of

FUTURE_US: Final = 24 * 3600 * 1_000_000
"""An event this much later than its append was refused: it moves no clock."""

REMEMBERED_BROADCASTS: Final = 100_000

Clock = tuple[int, int]
"""Microseconds since 1970, and in a replay the place in the file; -1 where there is none."""

Headers = tuple[tuple[str, bytes], ...]


class Placed(NamedTuple):
    """A record to append to partition `target` (None: to each). `timestamp` is its append time in milliseconds."""

    target: int | None
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers


class SourceClock:
    """The clock of one source partition."""

    def __init__(self) -> None:
        self._clock: Clock = (0, -1)
        self._opened_us: int | None = None  # of the replay that is open here

    def of(self, record: Any, event: Event | Refusal) -> Clock:
        """The clock at this record, the next one of the partition."""
        sequence, not_after = _replayed(record)
        if isinstance(event, Refusal) or event.time_us > not_after:
            return self._clock
        at = event.time_us
        if isinstance(event.data, Tick):
            at = round(event.data.now.timestamp() * 1e6)
            if at > not_after:
                return self._clock
            if not event.data.historical:
                self._opened_us = None
            elif self._opened_us is None:
                self._opened_us = at
        if self._opened_us is None:
            self._clock = max(self._clock, (at, -1))
        elif sequence is not None:
            self._clock = max(self._clock, (self._opened_us, sequence))
        return self._clock


class Ticks:
    """Of the ticks of all source partitions, those that are true of all of them."""

    def __init__(self, sources: int) -> None:
        self._last: list[tuple[int, int, bool, Any] | None] = [None] * sources
        self._said: tuple[int, bool] | None = None
        self._count = 0

    def add(self, source: int, now_us: int, historical: bool, record: Any) -> Any:
        """The record of the tick that is true of all from here on, or None where that has not changed."""
        self._count += 1
        self._last[source] = (now_us, self._count, historical, record)
        if None in self._last:
            return None
        # Of equal ones the oldest: a mode has changed once it has changed everywhere.
        now, _, mode, least = min(last for last in self._last if last is not None)
        if (now, mode) == self._said or (self._said is not None and now < self._said[0]):
            return None
        self._said = (now, mode)
        return least


class Repartition:
    """Where the records of one topic go. Records must be given in the order of their clocks (`SourceClock`)."""

    def __init__(self, sources: int, targets: int) -> None:
        self._targets = targets
        self._ticks = Ticks(sources)
        self._broadcasts: dict[tuple[str, str], None] = {}

    def place(self, source: int, record: Any, event: Event | Refusal) -> Placed | None:
        """The record as it is to be appended; None where it is not, or not yet."""
        if record.key is not None:
            return _placed(partition_of(record.key, self._targets), record)
        if isinstance(event, Refusal) or event.subject is not None:
            return _placed(source, record)
        if isinstance(event.data, Tick):
            now_us = round(event.data.now.timestamp() * 1e6)
            if now_us <= _replayed(record)[1]:
                said = self._ticks.add(source, now_us, event.data.historical, record)
                return None if said is None else _placed(None, said)
        name = (event.source, event.id)
        if name in self._broadcasts:
            return None
        self._broadcasts[name] = None
        if len(self._broadcasts) > REMEMBERED_BROADCASTS:
            del self._broadcasts[next(iter(self._broadcasts))]
        return _placed(None, record)


def decoded(topic: str, record: Any) -> Event | Refusal:
    """The record's event, or why it was refused."""
    return decode(topic, record.key, record.value)


def _placed(target: int | None, record: Any) -> Placed:
    return Placed(target, record.key, record.value, record.timestamp, tuple(record.headers))


def _replayed(record: Any) -> tuple[int | None, int]:
    """The record's place in a replayed file, if it has one, and the latest time that was not the future for it."""
    found = {
        name: int(value) for name, value in record.headers if value is not None and value.isdigit() and len(value) <= 18
    }
    return found.get("sequence"), found.get("run-start", record.timestamp * 1000) + FUTURE_US
