"""What the account page shows, from what is recorded. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup
from msgspec import Struct

from services.api.console.charts import parts_bar
from services.api.console.charts.bars import Step
from services.api.console.charts.health import BANDS
from services.api.coverage import SignalState

CHANGE_D: Final = 30
OLDEST_D: Final = 92
NEWEST_D: Final = 7
"""How old the parts that a score is compared with are at most and at least, where those of 30 days ago are not kept."""
SMALLEST: Final = 0.05
WOULD_CHANGE: Final = 3


class PartRow(Struct, frozen=True):
    """One component of the score. `possible` are the points that it could give now (0: not known of a missing one that is
    not alone), `change` those since then."""

    name: str
    points: float | None
    possible: float
    change: float | None
    why: str
    action: str
    bar: Markup
    worst: bool


class PartsThen(Struct, frozen=True):
    """What the score of a day was made of, in points, in the order of the record's components; None without data."""

    day: dt.date
    points: Sequence[float | None]

    @property
    def total(self) -> float:
        """The score that they sum to."""
        return round(sum(value for value in self.points if value is not None), 1)


class Compared(Struct, frozen=True):
    """The parts that a score is compared with. `wanted` is the day that was asked for, `days` how long ago theirs is."""

    then: PartsThen
    wanted: dt.date
    days: int

    @property
    def other(self) -> bool:
        """Whether they are of another day than was asked for."""
        return self.then.day != self.wanted


class Fall(Struct, frozen=True):
    """The score then, the steps from then to now, and the score now."""

    then: PartsThen
    steps: list[Step]
    score: float


class Would(Struct, frozen=True):
    """One change that would raise the score: what, to which score, and whether that is another band."""

    change: str
    score: float
    band: str
    better: bool


class Blind(Struct, frozen=True):
    """Signals of which nothing can be said: those without their inputs, and those whose windows are not filled yet."""

    counts: dict[str, int]
    starved: list[SignalState]
    warming: list[SignalState]
    unknown: list[SignalState]


def named(component: str) -> str:
    """`contract_growth` as words."""
    words = component.replace("_", " ")
    return words[:1].upper() + words[1:]


def part_rows(record: Mapping[str, Any], then: PartsThen | None) -> list[PartRow]:
    """The rows of the score. What is missing gives its points to the others, and says so."""
    components = record.get("components") or []
    missing = sum(one["score"] is None for one in components)
    shared = round(100 * (1 - record.get("coverage", 0.0)), 1)
    most = max((one["weight"] for one in components), default=1.0)
    rows = []
    for one, was in zip(components, _matching(components, then), strict=True):
        points = None if one["score"] is None else float(one["contribution"])
        # What all parts without data would have given is known of them together.
        possible = shared if points is None and missing == 1 else one["weight"]
        rows.append(
            PartRow(
                name=named(one["name"]),
                points=points,
                possible=possible,
                change=None if points is None or was is None else round(points - was, 1),
                why=one["why"],
                action=one["action"],
                bar=parts_bar(points, possible, most),
                worst=one["name"] == record.get("largest_detractor"),
            )
        )
    return rows


def fall(record: Mapping[str, Any], then: PartsThen | None) -> Fall | None:
    """By which parts the score came from then to now; None where either is not known."""
    components = record.get("components") or []
    if then is None or record.get("score") is None or len(then.points) != len(components):
        return None
    steps = []
    for one, was in zip(components, then.points, strict=True):
        now = None if one["score"] is None else float(one["contribution"])
        change = round((now or 0.0) - (was or 0.0), 1)
        if abs(change) >= SMALLEST:
            note = ", new" if was is None else ", no data now" if now is None else ""
            steps.append(Step(named(one["name"]) + note, change))
    steps.sort(key=lambda step: (-abs(step.change), step.name))
    return Fall(then, steps, float(record["score"]))


def nearest(found: Sequence[PartsThen], wanted: dt.date, score: float | None) -> PartsThen | None:
    """What the score was made of as a day ended: the record that sums to `score`, the score then, else the nearest day's.

    A day's last record is that of its end, or the next day's first where records came many at once. None where none is
    given. Of two as near the older: a month is asked for, and what happened since is the question.
    """
    found = sorted(found, key=lambda one: (abs((one.day - wanted).days), one.day))
    for one in found:
        if score is not None and abs(one.total - score) < SMALLEST and abs((one.day - wanted).days) <= 1:
            return PartsThen(wanted, one.points)
    return next(iter(found), None)


def would_change(record: Mapping[str, Any]) -> list[Would]:
    """The changes that would raise the score most, by the scoring function itself."""
    now = record.get("band")
    found = []
    for one in (record.get("would_change") or [])[:WOULD_CHANGE]:
        band = _band(float(one["score"]))
        found.append(Would(one["change"], float(one["score"]), band, band != now))
    return found


def blind(states: Sequence[SignalState], counts: dict[str, int]) -> Blind:
    """What cannot be said of an account, and how many signals can."""
    return Blind(
        counts,
        [one for one in states if one.state == "starved"],
        [one for one in states if one.state == "warming"],
        [one for one in states if one.state == "unknown"],
    )


def _band(score: float) -> str:
    return next(name for name, low, _ in BANDS if score >= low)


def _matching(components: Sequence[Any], then: PartsThen | None) -> Sequence[float | None]:
    if then is None or len(then.points) != len(components):
        return [None] * len(components)
    return then.points
