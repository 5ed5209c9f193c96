"""What a catalogue file would have done: the signals of a recorded history with it and without it, compared."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from schemas.signals import Transition

Occurrence = tuple[dt.datetime, str, str, str, str]
"""Time, account, user or subject, what happened, severity: an episode's identity aside, which is the same in both runs."""


class Raised(Struct):
    """One account on which a signal was raised: when, and how bad it got."""

    account: str
    times: list[dt.datetime]
    severity: str


class SignalPreview(Struct):
    """One signal with the file, and what the file changes about it. `accounts` are by the time of their first raise."""

    signal: str
    own: bool
    off: bool
    changed: bool
    raises: int
    raises_without: int
    accounts: list[Raised]
    open_at_end: int
    more: list[str]
    fewer: list[str]

    @property
    def first(self) -> dt.datetime | None:
        """The first raise."""
        return min((one.times[0] for one in self.accounts), default=None)

    @property
    def last(self) -> dt.datetime | None:
        """The last raise."""
        return max((one.times[-1] for one in self.accounts), default=None)


class Told:
    """The transitions of one run, by signal. Small: what is compared, not what is said."""

    def __init__(self, transitions: Iterable[Transition]) -> None:
        self.by_signal: dict[str, list[Occurrence]] = {}
        for one in transitions:
            data = one.data
            of = next((name for name in (data.user, getattr(data, "about", None)) if isinstance(name, str)), "")
            entry = (one.time, one.subject, of, one.type.removeprefix("signal."), data.severity)
            self.by_signal.setdefault(data.signal, []).append(entry)

    def of(self, signal: str) -> list[Occurrence]:
        """What was said of one signal."""
        return self.by_signal.get(signal, [])


RANKS: Mapping[str, int] = {"info": 0, "warning": 1, "critical": 2}


def compare(without: Told, with_file: Told, built_in: Sequence[str], in_force: Sequence[str]) -> list[SignalPreview]:
    """One entry for each signal of either catalogue: own ones first, then those that the file changes, then the others."""
    found = [
        _one(signal, without.of(signal), with_file.of(signal), own=signal not in built_in, off=signal not in in_force)
        for signal in sorted({*built_in, *in_force})
    ]
    return sorted(found, key=lambda one: (not one.own, not one.changed, one.signal))


def _one(signal: str, before: list[Occurrence], after: list[Occurrence], *, own: bool, off: bool) -> SignalPreview:
    accounts: dict[str, Raised] = {}
    for time, account, _, what, severity in sorted(after):
        if what == "raised":
            accounts.setdefault(account, Raised(account, [], severity)).times.append(time)
        if what != "cleared" and RANKS[severity] > RANKS[accounts[account].severity]:
            accounts[account].severity = severity
    raised = {account for _, account, _, what, _ in before if what == "raised"}
    return SignalPreview(
        signal,
        own,
        off,
        sorted(before) != sorted(after),
        _count(after, "raised"),
        _count(before, "raised"),
        sorted(accounts.values(), key=lambda one: (one.times[0], one.account)),
        _count(after, "raised") - _count(after, "cleared"),
        [] if own else sorted(accounts.keys() - raised),
        sorted(raised - accounts.keys()),
    )


def _count(entries: list[Occurrence], what: str) -> int:
    return sum(entry[3] == what for entry in entries)


def as_json(one: SignalPreview) -> dict[str, Any]:
    """One entry for programs."""
    return {
        "signal": one.signal,
        "own": one.own,
        "off": one.off,
        "changed": one.changed,
        "accounts": len(one.accounts),
        "raises": one.raises,
        "raises_without": one.raises_without,
        "open_at_end": one.open_at_end,
        "first": _iso(one.first),
        "last": _iso(one.last),
        "fires": [
            {"account": raised.account, "raised": [_iso(time) for time in raised.times], "severity": raised.severity}
            for raised in one.accounts
        ],
        "more": one.more,
        "fewer": one.fewer,
    }


def _iso(time: dt.datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")
