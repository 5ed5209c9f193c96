"""What happened to a signal, told in its order: what the engine said, and what people did."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from services.api.console import shown
from services.api.console.act_forms import OUTCOME_NAMES
from services.api.console.directory import Directory
from services.api.console.shown import Clock
from services.api.lifecycle import Act, taken_back


class Entry(Struct, frozen=True, kw_only=True):
    """One line of a history. `version` is that of an act, None where the engine spoke; `note` is in somebody's words.

    `gone`: it was taken back. `severity` is set where the engine said one.
    """

    at: dt.datetime
    who: str
    what: str
    note: str | None = None
    severity: str | None = None
    version: int | None = None
    gone: bool = False


def told(act: Act, directory: Directory, clock: Clock) -> str:
    """An act as the rest of a sentence that begins with who did it."""
    data = act.data
    match act.act:
        case "acknowledge":
            return "acknowledged this"
        case "snooze":
            until = dt.datetime.fromisoformat(data["until"])
            return f"snoozed this until {shown.exact(until, clock)} {clock.zone_name}: {data['reason']}"
        case "assign":
            pool = f" (from the pool {data['pool']})" if data.get("pool") else ""
            return f"assigned this to {directory.name(data['to'])}{pool}"
        case "close":
            return f"closed this: {OUTCOME_NAMES.get(data['outcome'], data['outcome'])}{_why_churned(data)}"
        case "comment":
            return "commented"
        case "undo":
            return "took an act back"


def _why_churned(data: Mapping[str, Any]) -> str:
    if not data.get("churn_reason"):
        return ""
    known = data.get("avoidable")
    avoidable = "" if known is None else ", avoidable" if known else ", not avoidable"
    return f" ({data['churn_reason'].replace('_', ' ')}{avoidable})"


def entries(
    transitions: Sequence[Mapping[str, Any]], acts: Sequence[Act], directory: Directory, clock: Clock
) -> list[Entry]:
    """Everything that happened to a signal, first to last. `transitions` are as they were published, decoded."""
    gone = taken_back(list(acts))
    found = [_transition(change) for change in transitions]
    found += [
        Entry(
            at=act.at,
            who=directory.name(act.actor),
            what=told(act, directory, clock),
            note=act.data.get("comment"),
            version=act.version,
            gone=act.version in gone,
        )
        for act in acts
    ]
    return sorted(found, key=lambda entry: entry.at)


def _transition(change: Mapping[str, Any]) -> Entry:
    data = change["data"]
    kind = str(change["type"]).removeprefix("signal.")
    what = {
        "raised": "raised",
        "escalated": f"escalated from {data.get('previous_severity', 'less')}",
        "cleared": f"cleared: {str(data.get('cleared_because', '')).replace('_', ' ')}",
    }.get(kind, kind)
    return Entry(
        at=dt.datetime.fromisoformat(change["time"]),
        who="Ebbtide",
        what=what,
        note=None if kind == "cleared" else data.get("reason"),
        severity=None if kind == "cleared" else data.get("severity"),
    )


def since(version: int, acts: Sequence[Act], directory: Directory, clock: Clock) -> list[str]:
    """What others did after a version, each as a sentence: "Ben snoozed this until … (4 min ago)"."""
    return [
        f"{directory.name(act.actor)} {told(act, directory, clock)} ({shown.relative(act.at, clock)})"
        for act in acts
        if act.version > version
    ]
