"""The oracle itself: the file is walked line by line, clocks and ticks as the exact meanings have them.

Before an event is applied to its account, every midnight and every deadline up to the event's time is judged; after it,
everything is judged at the account's clock.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.oracle.facts import Facts, windows
from tests.oracle.records import DAY, HOUR, Record, day_of, iso, us, week_of_day
from tests.oracle.signals import (
    COMPOSITES,
    ONCE_PER_USER,
    PARTS,
    SIGNALS,
    Clear,
    Context,
    Episode,
    Escalate,
    Look,
    Raise,
    Signal,
    deadlines,
)

RISKS = {signal.name for signal in SIGNALS if signal.kind == "risk"}
COMPOSITE_NAMES = {signal.name for signal in COMPOSITES}


class Change(NamedTuple):
    """One expected transition. Times are microseconds since 1970; `subject` is "" for account scope."""

    time: int
    account: str
    signal: str
    subject: str
    ordinal: int
    type: str
    severity: str
    opened_at: int
    because: str | None = None

    def __str__(self) -> str:
        subject = f"({self.subject})" if self.subject else ""
        because = f" because {self.because}" if self.because else ""
        opened = f" opened {iso(self.opened_at)}" if self.opened_at != self.time else ""
        return (
            f"{iso(self.time)} {self.account} {self.signal}{subject} #{self.ordinal} "
            f"{self.type} {self.severity}{opened}{because}"
        )


@dataclass
class Account:
    """One account: its records in order of arrival, its clock, and its episodes."""

    name: str
    clock: int
    records: list[Record] = field(default_factory=list)
    open: dict[tuple[str, str], Episode] = field(default_factory=dict)
    ordinals: Counter[tuple[str, str]] = field(default_factory=Counter)
    blocked_until: dict[tuple[str, str], int] = field(default_factory=dict)
    had_once: set[tuple[str, str]] = field(default_factory=set)
    deadlines: set[int] = field(default_factory=set)
    low_days: int = 0
    changes: list[Change] = field(default_factory=list)

    def advance(self, until: int) -> None:
        """Let time pass to `until`, judging at every midnight and deadline on the way."""
        while self.records:
            due = self.deadlines | {e.opened_at + days * DAY for e in self.open.values() for days in (60, 90)}
            midnight = (day_of(self.clock) + 1) * DAY
            instant = min([midnight, *(i for i in due if i > self.clock)])
            if instant > until:
                break
            self.clock = instant
            self.judge(Look(midnight=instant == midnight))
        self.clock = max(self.clock, until)

    def apply(self, record: Record) -> None:
        """Apply one event and judge everything at the account's clock."""
        late = record.t < self.clock
        self.advance(record.t)
        if record.type == "account.erased":
            for key in list(self.open):
                self.clear(key, "erased")
            self.records, self.deadlines, self.blocked_until, self.low_days = [], set(), {}, 0
            self.had_once = set()
            return
        self.records.append(record)
        self.deadlines = deadlines(self.records)
        self.judge(Look(event=record, late=late))

    def judge(self, look: Look) -> None:
        """Judge every signal now: parts first, then those that rest on other episodes."""
        facts = Facts(self.records, self.clock)
        if look.midnight:
            ended = facts.today - 1
            low = facts.seats >= 1 and 2 * facts.active_users(ended - 27, ended) < facts.seats
            self.low_days = self.low_days + 1 if low else 0
        if facts.churned:
            for key in list(self.open):
                self.clear(key, "churned")
            return
        for signal in PARTS + COMPOSITES:
            known = {subject for name, subject in self.open if name == signal.name}
            for subject in sorted(known | signal.subjects(facts)):
                self.judge_one(signal, subject, facts, look)

    def judge_one(self, signal: Signal, subject: str, facts: Facts, look: Look) -> None:
        """Judge one signal about one subject."""
        key = (signal.name, subject)
        episode = self.open.get(key)
        answer = signal.rule(Context(facts, look, subject, self.risks_beside(signal), self.low_days), episode)
        if episode is None:
            if (
                isinstance(answer, Raise)
                and key not in self.had_once
                and self.clock >= self.blocked_until.get(key, self.clock)
            ):
                self.raise_(key, answer, facts)
        elif isinstance(answer, Escalate):
            episode.severity, episode.memory = answer.severity, answer.memory
            self.tell(key, episode, "escalated")
        elif isinstance(answer, Clear):
            self.clear(key, "late_event" if look.late else answer.because)

    def risks_beside(self, signal: Signal) -> list[Episode]:
        """The open account-scope risks, the signal itself aside."""
        return [
            episode
            for (name, _), episode in self.open.items()
            if name != signal.name and name in RISKS and episode.scope == "account"
        ]

    def raise_(self, key: tuple[str, str], answer: Raise, facts: Facts) -> None:
        self.ordinals[key] += 1
        if key[0] in ONCE_PER_USER:
            self.had_once.add(key)
        opened_at = self.clock if answer.opened_at is None else answer.opened_at
        last = max(r.seq for r in facts.records)
        scope = "user" if key[1] else "account"
        self.open[key] = Episode(self.ordinals[key], opened_at, answer.severity, last, scope, answer.memory)
        self.tell(key, self.open[key], "raised")

    def clear(self, key: tuple[str, str], because: str) -> None:
        self.tell(key, self.open.pop(key), "cleared", because)
        self.blocked_until[key] = (day_of(self.clock) + 1) * DAY

    def tell(self, key: tuple[str, str], episode: Episode, kind: str, because: str | None = None) -> None:
        self.changes.append(
            Change(self.clock, self.name, *key, episode.ordinal, kind, episode.severity, episode.opened_at, because)
        )


@dataclass
class Answer:
    """What the oracle expects: changes in output order, the counts, and the accounts as they stand at the end."""

    changes: list[Change]
    counts: Counter[str]
    accounts: dict[str, Account]

    def windows(self, account: str, now: int) -> dict[str, int | None]:
        """The headline windows of an account at an instant after its last event."""
        return windows(Facts(self.accounts[account].records, now))


def output_order(change: Change) -> tuple[int, str, bool, str]:
    """The stated order of the output: time, account, parts before composites, signal."""
    return change.time, change.account, change.signal in COMPOSITE_NAMES, change.signal


def expect(lines: Iterable[bytes | dict[str, Any]], *, until: str | None = None, run_start: int) -> Answer:
    """What must come of a file. `lines` are events (a dict) or lines that must be refused as malformed (bytes).

    `until` is the last day (`YYYY-MM-DD`) to be judged; `run_start` is in microseconds since 1970. Events must be
    valid: whether a field is refused is the contract's matter, not the oracle's.
    """
    accounts: dict[str, Account] = {}
    seen: dict[tuple[str, str, str], list[int]] = {}
    counts: Counter[str] = Counter()
    end = None if until is None else us(until + "T00:00:00Z") + DAY
    tick: int | None = None
    latest: int | None = None
    for seq, line in enumerate(lines):
        if isinstance(line, bytes):
            counts["records"] += 1
            counts["dead.malformed"] += 1
            continue
        t = us(line["time"])
        if end is not None and t >= end:
            continue
        counts["records"] += 1
        if t > run_start + DAY:
            counts["dead.future"] += 1
            continue
        midnight = t // DAY * DAY
        if tick is None or midnight > tick:
            tick = midnight
            for account in accounts.values():
                account.advance(tick)
        latest = t if latest is None else max(latest, t)
        name = line["subject"]
        clock = accounts[name].clock if name in accounts else tick
        weeks_late = week_of_day(day_of(clock)) - week_of_day(day_of(t))
        if line["type"].startswith("usage.") and weeks_late >= 56:
            counts["dead.too_old"] += 1
            continue
        key = (name, line["source"], line["id"])
        if t < clock - 24 * HOUR:
            counts["dedupe_unchecked"] += 1
        elif any(before >= clock - 24 * HOUR for before in seen.get(key, [])):
            counts["duplicate"] += 1
            continue
        counts["applied"] += 1
        seen.setdefault(key, []).append(t)
        in_days = day_of(clock) - day_of(t) < 92
        record = Record(seq, name, line["source"], line["id"], line["type"], t, line["data"], in_days)
        accounts.setdefault(name, Account(name, clock)).apply(record)
    if latest is not None:
        last = (day_of(latest) + 1) * DAY if end is None else end
        for account in accounts.values():
            account.advance(last)
    changes = sorted((c for a in accounts.values() for c in a.changes), key=output_order)
    return Answer(changes, counts, accounts)


def expect_lines(lines: Iterable[bytes], *, until: dt.date | None, run_start: int) -> Answer:
    """As `expect`, for a file's bytes."""

    def parsed() -> Iterable[bytes | dict[str, Any]]:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                yield line

    return expect(parsed(), until=until.isoformat() if until else None, run_start=run_start)
