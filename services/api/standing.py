"""What people said of a signal, in words for whoever talks to its account next. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from schemas.lifecycle import Handling, Status
from services.api.lifecycle import Act, taken_back

UNFINISHED: Final[frozenset[Status]] = frozenset({"open", "acknowledged", "snoozed"})
"""What is still somebody's to know of. "Saved by a concession" is among it, as acknowledged: the risk stays."""

type Name = Callable[[str | None], str]
"""How an actor is called."""
type When = Callable[[dt.datetime], str]
"""How an instant that is to come is written, with its zone."""


class Note(Struct, frozen=True):
    """What somebody wrote about a signal: a comment, or why they did something else."""

    by: str
    at: dt.datetime
    text: str


def last_note(acts: Sequence[Act]) -> Note | None:
    """The latest words on a signal that were not taken back. `acts` are all acts on it, in their order."""
    gone = taken_back(acts)
    said = (act for act in reversed(acts) if act.act != "undo" and act.version not in gone and act.data.get("comment"))
    act = next(said, None)
    return None if act is None else Note(act.actor, act.at, act.data["comment"])


def in_words(status: Status, handling: Handling, now: dt.datetime, *, name: Name, when: When) -> str | None:
    """How a signal that is not cleared stands: "acknowledged by Ana, 3 days ago". None where nobody has done anything."""
    parts = []
    if status == "closed" and handling.closed_at is not None:
        parts.append(
            f"closed by {name(handling.closed_by)}, {ago(handling.closed_at, now)}: {_outcome(handling.outcome)}"
        )
    else:
        if handling.outcome == "saved_by_concession" and handling.closed_at is not None and status != "open":
            by = f"{name(handling.closed_by)}, {ago(handling.closed_at, now)}"
            parts.append(f"saved by a concession ({by}): the risk stays")
        if status == "snoozed" and handling.snoozed_until is not None:
            why = f": {handling.snooze_reason}" if handling.snooze_reason else ""
            parts.append(f"snoozed until {when(handling.snoozed_until)} by {name(handling.snoozed_by)}{why}")
        elif status == "acknowledged" and not parts and handling.acknowledged_at is not None:
            parts.append(f"acknowledged by {name(handling.acknowledged_by)}, {ago(handling.acknowledged_at, now)}")
    if handling.assignee is not None:
        parts.append(f"with {name(handling.assignee)}")
    return "; ".join(parts) or None


def noted(note: Note, now: dt.datetime, *, name: Name) -> str:
    """Who wrote it, and when: "Ana, 3 days ago"."""
    return f"{name(note.by)}, {ago(note.at, now)}"


def ago(at: dt.datetime, now: dt.datetime) -> str:
    """How long ago in words, in one unit: "just now", "14 minutes ago", "5 hours ago", "3 days ago"."""
    seconds = int((now - at).total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count = seconds // length
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _outcome(outcome: str | None) -> str:
    return (outcome or "no outcome").replace("_", " ")
