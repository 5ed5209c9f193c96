"""Recorded events through the core: the same steps, in the same order, as a replay sends through the topics."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator

from schemas.codec import Refusal, decode_any
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.signals import Transition
from services.common.recording import FUTURE_US, Line, Midnight, steps
from services.signals.backtest.broadcasts import Said, with_broadcasts
from services.signals.catalogue import load
from services.signals.core.days import NEVER, day_of_date, midnight
from services.signals.core.partition import PartitionEngine
from services.signals.core.signal import Catalogue

FLUSH_BYTES = 64_000_000
SHOWN_REFUSALS = 10
ALL_DUE = 1 << 30


class MemoryStore(dict[bytes, bytes]):
    """State in memory, for one run."""


class Backtest:
    """One run. `refused` counts lines by reason, `first_refusals` explains the first few."""

    def __init__(self, catalogue: Catalogue | None = None, *, until: dt.date | None = None, run_start_us: int) -> None:
        self.catalogue = catalogue or load()
        self.store = MemoryStore()
        self.engine = PartitionEngine(0, INPUT_TOPICS, self.catalogue, self.store, partitions=1, with_health=False)
        self.engine.keep_transitions = True
        self.refused: Counter[str] = Counter()
        self.first_refusals: list[tuple[bytes, Refusal]] = []
        self._run_start = run_start_us
        self._until = None if until is None else midnight(day_of_date(until) + 1)
        self._emitted = 0
        self._said = 0
        self._pending: list[tuple[tuple[dt.datetime, str, int, str, int], Transition]] = []

    def run(self, lines: Iterable[Line]) -> Iterator[Transition]:
        """Transitions in order of time, then account, parts before composites, signal id."""
        engine = self.engine
        for topic in range(len(INPUT_TOPICS)):
            engine.tick(topic, 0, True)
        not_after = self._run_start + FUTURE_US
        recorded = steps(lines, run_start_us=self._run_start, until_us=self._until)
        for sequence, what in with_broadcasts(recorded, run_start_us=self._run_start):
            if isinstance(what, Midnight):
                for topic in range(len(INPUT_TOPICS)):
                    engine.tick(topic, what.now_us, True)
                engine.work(ALL_DUE)
                self._collect()
                yield from self._release(what.now_us)
                continue
            raw, event = what
            self._said += isinstance(what, Said)
            topic, key = 0, None
            if not isinstance(event, Refusal):
                topic = INPUT_TOPICS.index(EVENT_TYPES[event.type].topic)
                key = None if event.subject is None else event.subject.encode()
            # What the guards say of a midnight past the run's start is no event of the future.
            engine.apply(topic, sequence, key, raw, event, NEVER if isinstance(what, Said) else not_after)
            self._count_refusals()
            if engine.pending_bytes > FLUSH_BYTES:
                self._flush_state()
        self._collect()
        yield from self._release(None)

    @property
    def counts(self) -> dict[str, int]:
        """Conservation over all topics, of the recording's own lines: records = applied + duplicate + dead."""
        names = ("records", "applied", "duplicate", "dead", "dedupe_unchecked")
        counts = {name: sum(self.engine.counters[name]) for name in names}
        return counts | {name: counts[name] - self._said for name in ("records", "applied")}

    def _count_refusals(self) -> None:
        for letter in self.engine.refusals():
            self.refused[letter.refusal.reason] += 1
            if len(self.first_refusals) < SHOWN_REFUSALS:
                self.first_refusals.append((letter.value or b"", letter.refusal))

    def _collect(self) -> None:
        rank = self.catalogue.rank
        for change in self.engine.transitions:
            self._emitted += 1
            user = change.data.user if isinstance(change.data.user, str) else ""
            order = (change.time, change.subject, rank[change.data.signal], user, self._emitted)
            self._pending.append((order, change))
        self.engine.transitions = []

    def _release(self, before_us: int | None) -> Iterator[Transition]:
        """What can no longer be preceded by anything: changes before the tick. Accounts are never behind the tick."""
        self._pending.sort(key=lambda entry: entry[0])
        if before_us is None:
            ready, self._pending = self._pending, []
        else:
            limit = dt.datetime.fromtimestamp(before_us // 1_000_000, dt.UTC)
            cut = next((i for i, (order, _) in enumerate(self._pending) if order[0] >= limit), len(self._pending))
            ready, self._pending = self._pending[:cut], self._pending[cut:]
        for _, change in ready:
            yield change

    def _flush_state(self) -> None:
        for key, value in self.engine.take(0, 0.0).state:
            if value is None:
                self.store.pop(key, None)
            else:
                self.store[key] = value


def run(
    lines: Iterable[bytes], *, until: dt.date | None = None, run_start_us: int, catalogue: Catalogue | None = None
) -> Iterator[Transition]:
    """All transitions that these lines of JSON give. See `Backtest` for counts and refusals."""
    decoded = (Line(raw, decode_any(raw)) for raw in lines)
    yield from Backtest(catalogue, until=until, run_start_us=run_start_us).run(decoded)
