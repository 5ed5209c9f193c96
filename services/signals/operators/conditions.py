"""The closed set of conditions that operators' signals are made of: what each means, and when time alone may change it.

A condition *holds* by its raise threshold. Once it holds, it is *kept* until its clear threshold says otherwise; what is
kept of it (a baseline, since when) is the episode's frozen data. All windows are whole UTC days: `count` includes the
running day, `dropped` and `silent` look at complete days, so that they change at midnights and at late events only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from schemas.signals import Evidence, Severity
from services.signals.catalogue.definition import evidence, on, times
from services.signals.core.days import DAY_US
from services.signals.core.signal import SEVERITY_RANK, Context, Fact
from services.signals.core.windows import DAYS
from services.signals.operators.measures import Counted

MOST_DAYS: Final = DAYS - 2
"""Longest window: 90 of the 92 days that are kept."""

Kept = list[Any]
"""[whether it is kept, the baseline or the day of the last count, since when in µs]"""


@dataclass(frozen=True)
class Leaf:
    """A condition on one measure or field.

    `reads` are the facts that can make it hold or end it at once, `arms` those that matter while it does not hold and
    names no deadline, `reads_open` those that can end it. `numbers` are the names that texts may use.
    """

    label: str
    severity: Severity
    numbers: ClassVar[tuple[str, ...]] = ()

    @property
    def reads(self) -> int:
        """See the class."""
        return 0

    @property
    def arms(self) -> int:
        """See the class."""
        return 0

    @property
    def reads_open(self) -> int:
        """See the class."""
        return 0

    def of(self, c: Context, name: str) -> Any:
        """One of its thresholds, None where it has none of that name."""
        return c.p.get(f"{self.label}.{name}")

    def holds(self, c: Context) -> bool:
        """By the raise threshold."""
        raise NotImplementedError

    def keeps(self, c: Context, kept: Kept) -> bool:
        """By the clear threshold, where it held."""
        raise NotImplementedError

    def keep(self, c: Context) -> Kept:
        """What is kept of a condition that holds now."""
        return [True, 0, c.now]

    def lapsed(self, c: Context, kept: Kept) -> bool:
        """Whether it ended because its time was up, and for no other reason."""
        return False

    def due(self, c: Context, kept: Kept | None) -> int:
        """The next instant at which time alone may make it hold or, kept, end it: whatever in-time events follow, but for
        those that it reads. 0 for none."""
        raise NotImplementedError

    def unknown(self, c: Context) -> int:
        """Such an instant for a condition that does not hold and has nothing to go by yet: what comes may make one."""
        return 0

    def values(self, c: Context, kept: Kept | None) -> dict[str, Any]:
        """The numbers that texts may name."""
        raise NotImplementedError

    def sentence(self, c: Context, kept: Kept | None) -> str:
        """What it found, in words."""
        raise NotImplementedError

    def proof(self, c: Context, kept: Kept | None) -> Evidence:
        """What it found, as evidence."""
        raise NotImplementedError

    def plain(self) -> dict[str, Any]:
        """What it is, as plain data; its thresholds aside."""
        raise NotImplementedError


@dataclass(frozen=True)
class OnMeasure(Leaf):
    """A condition on what a measure counted."""

    measure: Counted

    def days(self, c: Context) -> int:
        """The length of its window."""
        return int(self.of(c, "days"))

    def by_age(self, c: Context, ages: int) -> list[int]:
        """Amounts of the last days, the running one first."""
        return c.account.windows.by_age(self.measure.slot, ages)

    def plain(self) -> dict[str, Any]:
        """What it is, as plain data."""
        return {type(self).__name__.lower(): self.measure.name, "label": self.label, "severity": self.severity}


@dataclass(frozen=True)
class Count(OnMeasure):
    """At least `at_least` in the last `days`, the running one included; kept until below `clear_below`."""

    numbers = ("value", "at_least", "days")

    @property
    def reads(self) -> int:
        """Every count may make it hold."""
        return self.measure.counted | self.measure.late

    def _value(self, c: Context) -> int:
        return sum(self.by_age(c, self.days(c)))

    def holds(self, c: Context) -> bool:
        """By `at_least`."""
        return self._value(c) >= self.measure.amount(self.of(c, "at_least"))

    def keeps(self, c: Context, kept: Kept) -> bool:
        """By `clear_below`."""
        return self._value(c) >= self.measure.amount(self.of(c, "clear_below"))

    def due(self, c: Context, kept: Kept | None) -> int:
        """Kept: the midnight at which it would end if nothing were counted any more."""
        if kept is None:
            return 0
        counts = self.by_age(c, self.days(c))
        left, least = sum(counts), self.measure.amount(self.of(c, "clear_below"))
        ahead = 0
        while left >= least:
            ahead += 1
            left -= counts[-ahead]
        return _midnight(c, max(ahead, 1))

    def values(self, c: Context, kept: Kept | None) -> dict[str, Any]:
        """Amount, limit, window."""
        value = self.measure.shown(self._value(c))
        return {"value": value, "at_least": self.of(c, "at_least"), "days": self.days(c)}

    def sentence(self, c: Context, kept: Kept | None) -> str:
        """Amount, window, limit."""
        v = self.values(c, kept)
        return f"{_begin(self.measure.title)}: {v['value']} in {times(v['days'], 'day')}, the limit is {v['at_least']}"

    def proof(self, c: Context, kept: Kept | None) -> Evidence:
        """Amount, window, limit."""
        v = self.values(c, kept)
        window = (c.today - v["days"] + 1, c.today)
        return evidence(self.measure.name, v["value"], self.measure.unit, threshold=v["at_least"], days=window)


@dataclass(frozen=True)
class Dropped(OnMeasure):
    """Over the `days` complete days before today, `percent` or more below as many days before those: the baseline, which
    was at least `baseline`. It is kept while more than `clear_percent` below that baseline, for `new_normal_days` at most."""

    numbers = ("value", "baseline", "change", "percent", "days")

    @property
    def reads(self) -> int:
        """Complete days change by late events only."""
        return self.measure.late

    @property
    def arms(self) -> int:
        """What is counted may be missed later."""
        return self.measure.counted

    @property
    def reads_open(self) -> int:
        """What is counted today may end it at midnight."""
        return self.measure.counted

    def _current(self, c: Context) -> int:
        return c.account.windows.complete(self.measure.slot, 1, self.days(c))

    def _previous(self, c: Context) -> int:
        days = self.days(c)
        return c.account.windows.complete(self.measure.slot, days + 1, 2 * days)

    def _fell(self, c: Context, current: int, previous: int) -> bool:
        least = self.measure.amount(self.of(c, "baseline"))
        return previous >= least and 100 * current <= (100 - int(self.of(c, "percent"))) * previous

    def _recovered(self, c: Context, current: int, baseline: int) -> bool:
        return 100 * current >= (100 - int(self.of(c, "clear_percent"))) * baseline

    def change(self, c: Context) -> float:
        """Against the days before, as a ratio minus one; those are not empty."""
        return self._current(c) / self._previous(c) - 1

    def _new_normal(self, c: Context, kept: Kept) -> int:
        return int(kept[2]) + int(self.of(c, "new_normal_days")) * DAY_US

    def holds(self, c: Context) -> bool:
        """By `percent`, against the days before."""
        return self._fell(c, self._current(c), self._previous(c))

    def keeps(self, c: Context, kept: Kept) -> bool:
        """By `clear_percent`, against the baseline that was kept."""
        return c.now < self._new_normal(c, kept) and not self._recovered(c, self._current(c), kept[1])

    def keep(self, c: Context) -> Kept:
        """The baseline."""
        return [True, self._previous(c), c.now]

    def lapsed(self, c: Context, kept: Kept) -> bool:
        """It is the new normal."""
        return c.now >= self._new_normal(c, kept) and not self._recovered(c, self._current(c), kept[1])

    def due(self, c: Context, kept: Kept | None) -> int:
        """Not kept: the first midnight at which it would hold if nothing were counted any more. Counts only put that off,
        until they leave the window themselves. Kept: the next midnight after a day with counts; without any it stays."""
        days = self.days(c)
        counts = self.by_age(c, 2 * days + 1)
        if kept is not None:
            end = self._new_normal(c, kept)
            return min(end, _midnight(c, 1)) if counts[0] else end
        current, previous = sum(counts[:days]), sum(counts[days : 2 * days])
        if not current and not previous:
            return 0
        for ahead in range(1, days + 1):
            if self._fell(c, current, previous):
                return _midnight(c, ahead)
            leaving = counts[days - ahead]
            current -= leaving
            previous += leaving - counts[2 * days - ahead]
        return self.unknown(c)

    def unknown(self, c: Context) -> int:
        """What is counted today is compared with when a whole window has passed."""
        return _midnight(c, self.days(c) + 1)

    def values(self, c: Context, kept: Kept | None) -> dict[str, Any]:
        """Amount, baseline, change in percent, limit, window."""
        current = self._current(c)
        baseline = self._previous(c) if kept is None else int(kept[1])
        return {
            "value": self.measure.shown(current),
            "baseline": self.measure.shown(baseline),
            "change": round(100 * (current - baseline) / baseline) if baseline else 0,
            "percent": self.of(c, "percent"),
            "days": self.days(c),
        }

    def sentence(self, c: Context, kept: Kept | None) -> str:
        """Amount, window, baseline."""
        v = self.values(c, kept)
        return (
            f"{_begin(self.measure.title)}: {v['value']} in {times(v['days'], 'complete day')}, "
            f"against {v['baseline']} at the baseline ({v['change']:+d} %)"
        )

    def proof(self, c: Context, kept: Kept | None) -> Evidence:
        """Amount, window, baseline, and the amount at which it would have held."""
        v = self.values(c, kept)
        baseline = self._previous(c) if kept is None else int(kept[1])
        limit = self.measure.shown((100 - int(v["percent"])) * baseline // 100)
        return evidence(
            self.measure.name,
            v["value"],
            self.measure.unit,
            baseline=v["baseline"],
            threshold=limit,
            days=(c.today - v["days"], c.today - 1),
        )


@dataclass(frozen=True)
class Silent(OnMeasure):
    """Nothing counted today and on the `days` complete days before, after counts on `used_days` of the days that are kept."""

    numbers = ("value", "days")

    @property
    def reads(self) -> int:
        """Complete days change by late events only."""
        return self.measure.late

    @property
    def arms(self) -> int:
        """What is counted may be missed later."""
        return self.measure.counted

    @property
    def reads_open(self) -> int:
        """The next count ends it."""
        return self.measure.counted

    def _last(self, c: Context) -> int:
        """Days since the last count, -1 where none is known any more."""
        return next((age for age, amount in enumerate(self.by_age(c, DAYS)) if amount), -1)

    def holds(self, c: Context) -> bool:
        """By `days` and `used_days`."""
        days, counts = self.days(c), self.by_age(c, DAYS)
        if any(counts[: days + 1]):
            return False
        return sum(amount > 0 for amount in counts[days + 1 :]) >= int(self.of(c, "used_days"))

    def keeps(self, c: Context, kept: Kept) -> bool:
        """Until something is counted."""
        return not any(self.by_age(c, self.days(c) + 1))

    def keep(self, c: Context) -> Kept:
        """The day of the last count."""
        return [True, c.today - self._last(c), c.now]

    def due(self, c: Context, kept: Kept | None) -> int:
        """Not kept: the midnight at which nothing will have been counted for long enough."""
        last = self._last(c)
        if kept is not None or not 0 <= last <= self.days(c):
            return 0
        return _midnight(c, self.days(c) + 1 - last)

    def unknown(self, c: Context) -> int:
        """What is counted today can be missed when a whole window has passed."""
        return _midnight(c, self.days(c) + 1)

    def values(self, c: Context, kept: Kept | None) -> dict[str, Any]:
        """Complete days without, and the limit."""
        last = self._last(c)
        if last < 0 and kept is not None:
            last = c.today - int(kept[1])
        return {"value": max(last - 1, 0), "days": self.days(c)}

    def sentence(self, c: Context, kept: Kept | None) -> str:
        """Days without, the last with, the limit."""
        v, title = self.values(c, kept), _begin(self.measure.title)
        if self._last(c) == 0:
            return f"{title}: some again today; the limit is {times(v['days'], 'complete day')} without"
        last = on(c.today - v["value"] - 1)
        return f"{title}: none for {times(v['value'], 'complete day')}, last on {last}; the limit is {v['days']}"

    def proof(self, c: Context, kept: Kept | None) -> Evidence:
        """Days without, and the limit."""
        v = self.values(c, kept)
        window = (c.today - v["value"], c.today - 1) if v["value"] else None
        return evidence(f"days_without_{self.measure.name}", v["value"], "days", threshold=v["days"], days=window)


@dataclass(frozen=True)
class Changed(Leaf):
    """A profile field changed to one of some values, from one of `before` where any are given, less than `days` × 24 h ago.

    The first thing said of a field is no change. Without `days` it holds as long as the field stays so.
    """

    field: str
    to: frozenset[Any]
    before: frozenset[Any]
    numbers = ("value", "before")

    @property
    def reads(self) -> int:
        """The profile."""
        return Fact.PROFILE

    def _change(self, c: Context) -> int:
        """When it changed so (µs), -1 where it did not."""
        profile = c.account.hot.profile
        at, before = profile.changes.get(self.field, (-1, None))
        if profile.fields.get(self.field) not in self.to or (self.before and before not in self.before):
            return -1
        return at

    def _end(self, c: Context, at: int) -> int:
        days = self.of(c, "days")
        return 0 if days is None else at + int(days) * DAY_US

    def holds(self, c: Context) -> bool:
        """It changed so, and not too long ago."""
        at = self._change(c)
        end = self._end(c, at)
        return at >= 0 and (not end or c.now < end)

    def keeps(self, c: Context, kept: Kept) -> bool:
        """As long as it holds."""
        return self.holds(c)

    def lapsed(self, c: Context, kept: Kept) -> bool:
        """It is too long ago."""
        return self._change(c) >= 0

    def due(self, c: Context, kept: Kept | None) -> int:
        """Kept: when it is too long ago."""
        at = self._change(c)
        return 0 if kept is None or at < 0 else self._end(c, at)

    def values(self, c: Context, kept: Kept | None) -> dict[str, Any]:
        """The field's value, and the one before."""
        profile = c.account.hot.profile
        before = profile.changes.get(self.field, (0, None))[1]
        return {"value": _word(profile.fields.get(self.field)), "before": _word(before)}

    def sentence(self, c: Context, kept: Kept | None) -> str:
        """From what, to what."""
        v = self.values(c, kept)
        return f"{_begin(self.field.replace('_', ' '))}: {v['value']}, {v['before']} before"

    def proof(self, c: Context, kept: Kept | None) -> Evidence:
        """From what, to what."""
        v = self.values(c, kept)
        return evidence(f"profile.{self.field}", v["value"], "value", baseline=v["before"])

    def plain(self) -> dict[str, Any]:
        """What it is, as plain data."""
        to, before = sorted(self.to, key=repr), sorted(self.before, key=repr)
        return {"changed": self.field, "to": to, "from": before, "label": self.label, "severity": self.severity}


@dataclass(frozen=True)
class Both:
    """`all_of`, where `every` part must hold, or `any_of`, where one must."""

    parts: tuple[Leaf | Both, ...]
    every: bool

    def plain(self) -> dict[str, Any]:
        """What it is, as plain data."""
        return {"all_of" if self.every else "any_of": [part.plain() for part in self.parts]}


Condition = Leaf | Both


def leaves(condition: Condition) -> Iterator[Leaf]:
    """The conditions on measures and fields that a condition is made of."""
    if isinstance(condition, Both):
        for part in condition.parts:
            yield from leaves(part)
    else:
        yield condition


def rank(condition: Condition, kept: Mapping[str, bool]) -> int:
    """Rank of the worst severity among what holds, -1 where the condition does not hold.

    `kept` says of each leaf, by its label, whether it holds.
    """
    if not isinstance(condition, Both):
        return SEVERITY_RANK[condition.severity] if kept.get(condition.label) else -1
    ranks = [rank(part, kept) for part in condition.parts]
    return -1 if condition.every and min(ranks) < 0 else max(ranks)


def _midnight(c: Context, ahead: int) -> int:
    return (c.today + ahead) * DAY_US


def _begin(title: str) -> str:
    return title[:1].upper() + title[1:]


def _word(value: Any) -> str | int:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value is None else value if isinstance(value, int) else str(value)
