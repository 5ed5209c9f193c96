"""Operators' measures: which events each counts, and how much each event adds. Features that operators mark are marked here too.

A table from event class to what is to be done with such an event: where nothing is configured it is empty, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from schemas.envelope import Event
from schemas.events import EVENT_TYPES
from services.signals.core.days import DAY_US, week_of
from services.signals.core.state import Account
from services.signals.core.windows import MEASURES, WEEKS

MAX_MEASURES: Final = 16
"""Operators' measures that one catalogue may have: each costs an account up to 148 buckets."""
FEATURE_USED: Final = EVENT_TYPES["usage.feature_used"].event

Note = Callable[[Account, Event, int], int]
"""Takes in an event at its time (µs) before it is applied, and says which facts changed."""


class Measure(Struct, frozen=True):
    """One measure. `key` is its name and a digest of what it means; `amount` is what an event's data adds, 0 for nothing."""

    key: str
    event: type[Event]
    amount: Callable[[Any], int]


class Feature(NamedTuple):
    """What operators say of a feature: None leaves what the event says."""

    core: bool | None
    advanced: bool | None


def notes(
    measures: Sequence[Measure], features: Mapping[str, Feature], counted: int, late: int
) -> dict[type[Event], Note]:
    """What is to be done with events, by class. `counted` and `late` are the facts that a count changes."""
    table: dict[type[Event], list[tuple[int, Callable[[Any], int]]]] = {}
    for place, measure in enumerate(measures):
        table.setdefault(measure.event, []).append((len(MEASURES) + place, measure.amount))
    found = {event: _counting(amounts, counted, late) for event, amounts in table.items()}
    if features:
        found[FEATURE_USED] = _marking(features, found.get(FEATURE_USED))
    return found


def _counting(amounts: list[tuple[int, Callable[[Any], int]]], counted: int, late: int) -> Note:
    def note(account: Account, event: Event, at: int) -> int:
        facts = 0
        windows, day, data = account.windows, at // DAY_US, event.data
        for slot, amount_of in amounts:
            amount = amount_of(data)
            if not amount:
                continue
            if day == windows.today:
                windows.now[slot] += amount
                facts |= counted
            elif week_of(windows.today) - week_of(day) < WEEKS:
                windows.add(slot, day, amount)
                facts |= counted | late
        return facts

    return note


def _marking(features: Mapping[str, Feature], then: Note | None) -> Note:
    def note(account: Account, event: Event, at: int) -> int:
        data = event.data
        marked = features.get(data.feature)
        if marked is not None:
            if marked.core is not None:
                data.core = marked.core
            if marked.advanced is not None:
                data.advanced = marked.advanced
        return 0 if then is None else then(account, event, at)

    return note
