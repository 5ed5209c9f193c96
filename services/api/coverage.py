"""What can be said of an account at all: of each signal, whether it is open, quiet, or blind. Pure.

A signal whose inputs never came, or whose windows are not filled yet, says nothing: that is told, and never shown as fine.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

State = Literal["open", "quiet", "starved", "warming", "unknown", "churned"]
STATES: Final[tuple[State, ...]] = ("open", "quiet", "starved", "warming", "unknown", "churned")

PROFILE: Final = "profile."
OR: Final = " or "
INSTEAD: Final = {"renewal_date": "contract_end"}
"""Members of the profile that others stand in for, as they do where signals are judged."""


class Open(Struct):
    """An open episode, as the health record lists it."""

    episode_id: str
    signal: str


class Record(Struct):
    """What of a health record this is judged by. No `inputs_seen`: the record is older than that list."""

    account_id: str
    as_of: dt.datetime
    open_episodes: list[Open]
    profile: dict[str, Any]
    churned: bool = False
    first_event_at: dt.datetime | None = None
    inputs_seen: list[str] = []
    counted_since: dict[str, dt.datetime] = {}


class SignalState(Struct):
    """One signal of the catalogue for one account. `missing` where it is starved, `until` where it is warming."""

    signal: str
    title: str
    kind: str
    family: str
    scope: str
    state: State
    missing: list[str]
    until: dt.datetime | None
    episodes: list[str]


record_of: Final = msgspec.json.Decoder(Record).decode


def coverage(record: Record, entries: Iterable[Mapping[str, Any]]) -> list[SignalState]:
    """Every signal that can be about an account, in the catalogue's order."""
    return [_state(record, entry) for entry in entries if entry["scope"] != "portfolio"]


def summary(states: Iterable[SignalState]) -> dict[str, int]:
    """How many signals there are in each state."""
    counts: dict[str, int] = dict.fromkeys(STATES, 0)
    for entry in states:
        counts[entry.state] += 1
    return counts


def _state(record: Record, entry: Mapping[str, Any]) -> SignalState:
    open_now = [episode.episode_id for episode in record.open_episodes if episode.signal == entry["id"]]
    missing = _missing(record, entry.get("needs") or (), entry.get("inputs") or ())
    until = _warm_at(record, entry.get("warming_days") or 0, entry.get("measures") or ())
    state: State
    if record.churned:
        state = "churned"
    elif open_now:
        state = "open"
    elif missing is None:
        state = "unknown"
    elif missing:
        state = "starved"
    elif until is not None and record.as_of < until:
        state = "warming"
    else:
        state = "quiet"
    return SignalState(
        signal=entry["id"],
        title=entry["title"],
        kind=entry["kind"],
        family=entry["family"],
        scope=entry["scope"],
        state=state,
        missing=missing if state == "starved" and missing else [],
        until=until if state == "warming" else None,
        episodes=open_now,
    )


def _missing(record: Record, needs: Iterable[str], inputs: Iterable[str]) -> list[str] | None:
    """What is needed and not there; None where that cannot be told.

    A signal that names no event type as needed has to have heard of one of its inputs: which one is left open.
    """
    seen = set(record.inputs_seen)
    fields = [need for need in needs if need.startswith(PROFILE)]
    events = [need for need in needs if not need.startswith(PROFILE)]
    missing = [need for need in fields if not _known(record.profile, need.removeprefix(PROFILE))]
    # Whoever was heard of has sent something: an empty list was not written by an engine that keeps it.
    if not seen:
        return missing or (None if events or inputs else missing)
    if not events and inputs and seen.isdisjoint(inputs):
        return [*missing, OR.join(inputs)]
    return missing + [need for need in events if need not in seen]


def _known(profile: Mapping[str, Any], member: str) -> bool:
    return any(_given(profile.get(name)) for name in (member, INSTEAD.get(member, member)))


def _given(value: object) -> bool:
    """Whether a member of the profile says anything. No seats are as good as unknown seats; `false` is an answer."""
    return isinstance(value, bool) or bool(value)


def _warm_at(record: Record, days: int, measures: Iterable[str]) -> dt.datetime | None:
    if not days:
        return None
    begun = [record.counted_since[name] for name in measures if name in record.counted_since]
    return max([record.first_event_at or record.as_of, *begun]) + dt.timedelta(days=days)
