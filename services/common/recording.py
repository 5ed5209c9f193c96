"""Recorded events in files: NDJSON, plain or gzip, merged by time and interleaved with the ticks of passing midnights.

One definition of the order in which a recording is judged, so that a run over the file and a run over Kafka cannot
disagree about it. Pure but for the reading of the files; it never looks at a clock.
"""

from __future__ import annotations

import gzip
import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from schemas.codec import Refusal, decode_any
from schemas.envelope import Event
from schemas.events.control import TICK_TYPE

DAY_US = 86_400_000_000
FUTURE_US = DAY_US
"""An event more than this past the run's start is in the future: it is refused, and ticks nothing."""

LONGEST_GAP_DAYS = 800
"""Most midnights ticked in one gap between events. A change made by time has its due instant, never the tick's, so the
cadence of ticks changes no result; and one absurd date in a file cannot ask for a million of them."""


class Line(NamedTuple):
    """One line of a recording: its bytes without the line end, and what they decode to."""

    raw: bytes
    event: Event | Refusal


class Midnight(NamedTuple):
    """A tick: everything before this is older than `now_us`, a UTC midnight in microseconds since 1970."""

    now_us: int


class Step(NamedTuple):
    """One step of a run: its place in the run, which orders all topics, and what happens there."""

    sequence: int
    what: Line | Midnight


def midnight_before(us: int) -> int:
    """The UTC midnight at or before the instant `us`."""
    return us - us % DAY_US


def read(path: Path) -> Iterator[Line]:
    """The lines of one file, in file order; empty lines are left out. Raises OSError, with the path, if unreadable."""
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if zipped else path.open("rb") as file:
        try:
            for raw in file:
                text = raw.rstrip(b"\r\n")
                if text.strip():
                    yield Line(text, decode_any(text))
        except (EOFError, gzip.BadGzipFile) as error:
            raise OSError(f"{path}: damaged gzip file: {error}") from error


def merge(files: Sequence[Iterable[Line]]) -> Iterator[Line]:
    """Several recordings as one, by time. Each keeps its own order; at equal times the earlier file goes first.

    A line that is late or refused stands where it stood: behind the line before it.
    """
    if len(files) == 1:
        return iter(files[0])
    return (line for _, line in heapq.merge(*(_by_clock(lines) for lines in files), key=lambda pair: pair[0]))


def _by_clock(lines: Iterable[Line]) -> Iterator[tuple[int, Line]]:
    clock = 0
    for line in lines:
        if isinstance(line.event, Event):
            clock = max(clock, line.event.time_us)
        yield clock, line


def steps(lines: Iterable[Line], *, run_start_us: int, until_us: int | None = None) -> Iterator[Step]:
    """The whole run in order: each midnight stands before the first accepted event at or past it.

    It opens with the midnight before the first accepted event and ends with the one that ends the last accepted
    event's day, or with `until_us`: then events at or past that are left out. Events after `run_start_us` + 24 h tick
    nothing, like refused lines. Ticks found in the recording are left out: a run has its own. Without any accepted
    event there is no midnight.
    """
    return map(Step, count(), _unnumbered(lines, run_start_us + FUTURE_US, until_us))


def _unnumbered(lines: Iterable[Line], not_after: int, until_us: int | None) -> Iterator[Line | Midnight]:
    ticked: int | None = None
    newest = 0
    refused_first: list[Line] = []
    for line in lines:
        event = line.event
        if isinstance(event, Event):
            at = event.time_us
            if event.type == TICK_TYPE or (until_us is not None and at >= until_us):
                continue
            if at <= not_after:
                newest = max(newest, at)
                day = midnight_before(at)
                if ticked is None:
                    ticked = day
                    yield Midnight(day)
                    yield from refused_first
                elif day > ticked:
                    yield from _midnights(ticked, day)
                    ticked = day
        if ticked is None:
            refused_first.append(line)
        else:
            yield line
    if ticked is None:
        yield from refused_first
    else:
        yield from _midnights(ticked, until_us if until_us is not None else midnight_before(newest) + DAY_US)


def _midnights(after: int, to: int) -> Iterator[Midnight]:
    """Every midnight past `after` up to `to`; of a very long gap only the last part."""
    return map(Midnight, range(max(after + DAY_US, to - LONGEST_GAP_DAYS * DAY_US), to + 1, DAY_US))
