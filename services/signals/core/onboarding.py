"""Milestones, goals, commitments and the pilot: what was promised and what came of it, in bounded form.

The latest event time wins per field, whatever the order of arrival; the first date and the first end are kept beside it.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from services.signals.core.days import day_of_iso

MAX_MILESTONES: Final = 100
MAX_COMMITMENTS: Final = 100
MAX_GOALS: Final = 50
KINDS: Final = ("kickoff", "launch")
"""Kinds of milestone that are known by their name too, where no kind is given."""


class Promise(Struct, array_like=True):
    """A milestone or commitment: the day it is planned for, the earliest day it ever was planned for, when it was done.

    `due` is -1 while no date was given, or where the latest plan took the date away: then it is called off.
    """

    due: int = -1
    due_at: int = -1
    earliest: int = -1
    event_id: str = ""
    done_at: int = -1
    kind: str = ""
    kind_at: int = -1

    @property
    def done(self) -> bool:
        """Whether it was done or kept, ever."""
        return self.done_at >= 0

    @property
    def called_off(self) -> bool:
        """Whether it had a date, has none any more, and was never done."""
        return not self.done and self.due < 0 <= self.earliest

    def plan(self, due: int, at: int, event_id: str) -> None:
        """Plan it for a day (-1: for no day) as of an instant; the latest such instant wins."""
        if due >= 0:
            self.earliest = due if self.earliest < 0 else min(self.earliest, due)
        if at >= self.due_at:
            self.due, self.due_at, self.event_id = due, at, event_id

    def finish(self, at: int) -> None:
        """Note that it was done; the first time counts."""
        self.done_at = at if self.done_at < 0 else min(self.done_at, at)

    def name_kind(self, kind: str, at: int) -> None:
        """Set the kind of milestone unless a later event already did."""
        if at >= self.kind_at:
            self.kind, self.kind_at = kind, at

    def days_late(self, today: int) -> int:
        """Days behind the earliest plan, 0 for none: by a later date, or because the date has passed. Not once done."""
        if self.done or self.due < 0:
            return 0
        return max(self.due, today if today > self.due else -1) - self.earliest


class Goal(Struct, array_like=True):
    """A goal: each of metric, baseline, target and due day with the instant that set it, the latest measure, the end."""

    set_at: int = -1
    metric: tuple[int, str] | None = None
    baseline: tuple[int, float] | None = None
    target: tuple[int, float] | None = None
    due: tuple[int, int] | None = None
    measured: tuple[int, float] | None = None
    achieved_at: int = -1
    event_id: str = ""

    @property
    def whole(self) -> bool:
        """Whether metric, baseline, target and due date were agreed."""
        return None not in (self.metric, self.baseline, self.target, self.due)

    def agree(self, at: int, event_id: str, **said: Any) -> None:
        """Set what was said of the goal. What was not said (None) stays as it was."""
        self.set_at = at if self.set_at < 0 else min(self.set_at, at)
        self.event_id = self.event_id or event_id
        for name, value in said.items():
            before = getattr(self, name)
            if value is not None and (before is None or at >= before[0]):
                setattr(self, name, (at, value))

    def measure(self, value: float, at: int) -> None:
        """Note a measure; the latest counts."""
        if self.measured is None or at >= self.measured[0]:
            self.measured = (at, value)

    def achieve(self, at: int) -> None:
        """Note that it was achieved; the first time counts."""
        self.achieved_at = at if self.achieved_at < 0 else min(self.achieved_at, at)


class Onboarding(Struct, array_like=True):
    """What was planned with the account. Instants in µs, days since 1970, -1 is never.

    `value_at` is the first time that value was reached. `pilot_start` and `pilot_end` are the pilot's start and the
    earliest end that was said of a pilot with this start; `use_case_at` is when the use case last became another.
    """

    milestones: dict[str, Promise] = {}
    commitments: dict[str, Promise] = {}
    goals: dict[str, Goal] = {}
    value_at: int = -1
    pilot_start: int = -1
    pilot_end: int = -1
    use_case_at: int = -1

    def of_kind(self, kind: str) -> list[tuple[str, Promise]]:
        """Milestones of a kind, by name."""
        return [(name, milestone) for name, milestone in self.milestones.items() if _kind(name, milestone) == kind]

    def note_use_case(self, at: int) -> None:
        """The profile names another use case than before."""
        self.use_case_at = max(self.use_case_at, at)

    def note_pilot(self, pilot: dict[str, Any] | None) -> None:
        """Take in what the profile says of the pilot now: an extension is seen against the earliest end."""
        start, end = (day_of_iso(pilot.get(name)) if pilot else -1 for name in ("start", "end"))
        if start != self.pilot_start:
            self.pilot_start, self.pilot_end = start, -1
        if end >= 0:
            self.pilot_end = end if self.pilot_end < 0 else min(self.pilot_end, end)


def _kind(name: str, milestone: Promise) -> str:
    """The kind that was said, or else what the name says."""
    said = name.strip().casefold()
    return milestone.kind or (said if said in KINDS else "onboarding")


def launched_at(onboarding: Onboarding) -> int:
    """When the account launched: the first done time of a milestone of kind launch, in µs; -1 where none is done."""
    return min((milestone.done_at for _, milestone in onboarding.of_kind("launch") if milestone.done), default=-1)


def kickoff_at(onboarding: Onboarding) -> int:
    """When the kickoff was held: the first done time of a milestone of kind kickoff, in µs; -1 where none is done."""
    return min((milestone.done_at for _, milestone in onboarding.of_kind("kickoff") if milestone.done), default=-1)


def make_room(table: dict[str, Promise] | dict[str, Goal]) -> bool:
    """Forget the entry that ended first, kickoffs and launches aside. False where there is none: all are open."""
    ended = [
        (known.done_at if isinstance(known, Promise) else known.achieved_at, name)
        for name, known in table.items()
        if isinstance(known, Goal) or _kind(name, known) not in KINDS
    ]
    first = min((entry for entry in ended if entry[0] >= 0), default=None)
    if first is None:
        return False
    del table[first[1]]
    return True
