"""What the guards say while recorded events pass: the portfolio's measure at each midnight, sources that stop and return.

One definition for a backtest and for a replay, put in at the same places. What the recording itself says of a day or of
a source counts instead.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

from schemas.codec import decode_any
from schemas.envelope import Event
from schemas.events import EVENT_TYPES
from services.common.recording import FUTURE_US, Line, Midnight, Step
from services.signals.backtest.ledger import Ledger
from services.signals.core import announcements
from services.signals.core.days import date_of, day_of
from services.signals.core.portfolio import AWAITED_US
from services.signals.core.sources import SourceWatch

TOPICS = {kind.event: kind.topic for kind in EVENT_TYPES.values()}
NOTHING: Sequence[Said] = ()


class Said(Line):
    """A line that stands in no recording: the guards say it."""


def with_broadcasts(steps: Iterable[Step], *, run_start_us: int) -> Iterator[Step]:
    """The run with what the guards say in it, numbered anew. Events after `run_start_us` + 24 h count for nothing.

    A measure stands before the midnight that ends its day, so that every decision of that midnight has it. Where the
    recording tells the measure within an hour after that midnight, it is the recording's.
    """
    return map(Step, count(), _Walk((step.what for step in steps), run_start_us + FUTURE_US).run())


class _Walk:
    def __init__(self, whats: Iterator[Line | Midnight], not_after: int) -> None:
        self._whats = whats
        self._not_after = not_after
        self._ahead: deque[Line | Midnight] = deque()
        self._ledger = Ledger()
        self._watch = SourceWatch()
        self._clock = 0
        self._days: set[dt.date] = set()
        self._sources: set[tuple[str, str]] = set()

    def run(self) -> Iterator[Line | Midnight]:
        opened = False
        while True:
            what = self._ahead.popleft() if self._ahead else next(self._whats, None)
            if what is None:
                return
            if isinstance(what, Midnight):
                yield from self._pass(what.now_us)
                if opened:
                    yield from self._measure(what.now_us)
                opened = True
            elif isinstance(what.event, Event) and (at := what.event.time_us) <= self._not_after:
                yield from self._event(what.event, at)
            yield what

    def _event(self, event: Event, at: int) -> Sequence[Said]:
        """What is said before an event of the time `at` (µs)."""
        said = self._pass(at) if at > self._clock else NOTHING
        topic = TOPICS[event.__class__]
        if event.subject is not None:
            if (event.source, topic) not in self._sources:
                told = self._watch.saw(event.source, topic, event.subject, self._clock)
                if told is not None:
                    said = [*said, _said(announcements.source_told(told))]
            self._ledger.take(event, at)
        elif event.type == "portfolio.measured":
            self._days.add(event.data.day)
        elif event.type in ("source.stale", "source.fresh"):
            place = (event.data.source, event.data.topic)
            self._sources.add(place)
            self._watch.feeds.pop(place, None)
        return said

    def _pass(self, at: int) -> Sequence[Said]:
        """Time goes on to `at`."""
        if at > self._clock:
            self._clock = at
        return [_said(announcements.source_told(told)) for told in self._watch.until(at)]

    def _measure(self, at: int) -> Iterator[Line]:
        told = self._ledger.midnight(at, self._watch.late(at))
        if not self._recorded(date_of(day_of(at) - 1), at + AWAITED_US):
            yield _said(announcements.measured(told))

    def _recorded(self, day: dt.date, until: int) -> bool:
        """Whether the recording tells the measure of a day before `until`."""
        if day in self._days:
            return True
        for what in self._whats:
            self._ahead.append(what)
            if isinstance(what, Midnight):
                return False
            event = what.event
            if not isinstance(event, Event) or event.time_us > self._not_after:
                continue
            if event.time_us > until:
                return False
            if event.type == "portfolio.measured" and event.data.day == day:
                return True
        return False


def _said(raw: bytes) -> Said:
    return Said(raw, decode_any(raw))
