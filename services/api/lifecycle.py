"""Acts on signals, decided: what an act must say, when it is possible, and what all acts on an episode come to.

Pure: time is passed in, nothing is read or written. What the status is, is `schemas.lifecycle.shown`.

An undo takes back one act that is in force, whichever it is: the fold passes over it. The undo of an undo puts the act
back in force. An act is never changed or removed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Self

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schemas.lifecycle import (
    ACTS,
    CHURN_REASONS,
    EVENT_TYPES,
    OUTCOMES,
    STATUSES,
    UNAVOIDABLE,
    UNHANDLED,
    ActName,
    Cause,
    ChurnReason,
    Handling,
    Outcome,
    Status,
    shown,
)
from services.api.parameters import Instant, Text, Words

__all__ = [
    "ACTS",
    "CHURN_REASONS",
    "CONTENTS",
    "EVENT_TYPES",
    "OUTCOMES",
    "SNOOZE_AT_MOST",
    "STATUSES",
    "UNHANDLED",
    "Acknowledge",
    "Act",
    "ActName",
    "Assign",
    "Cause",
    "ChurnReason",
    "Close",
    "Comment",
    "Content",
    "Episode",
    "Handling",
    "Outcome",
    "Refusal",
    "Snooze",
    "Status",
    "Undo",
    "Why",
    "apply",
    "avoidable",
    "changed_since",
    "fold",
    "in_words",
    "recorded",
    "refusal",
    "shown",
    "taken_back",
]

SNOOZE_AT_MOST: Final = dt.timedelta(days=90)

# --- what an act says ----------------------------------------------------------------------------------------------

Why = Annotated[Words | None, Field(None, description="why, for whoever reads the history")]


class Content(BaseModel):
    """What an act says. Members that it does not have are refused. Every act may have a `comment`: why."""

    model_config = ConfigDict(extra="forbid")


class Acknowledge(Content):
    """Somebody has seen it and is on it."""

    comment: Why


class Snooze(Content):
    """Not before a time, or before it gets worse."""

    until: Annotated[Instant, Field(description="in the future, 90 days from now at most")]
    reason: Annotated[Words, Field(description="what is being waited for")]
    comment: Why


class Assign(Content):
    """It is this person's, or the next one's in a pool, or nobody's (`to` null)."""

    to: Annotated[Text | None, Field(None, description="user id; null takes it from whoever has it")]
    pool: Annotated[Text | None, Field(None, description="pool id: its policy says which member gets it")]
    comment: Why

    @model_validator(mode="after")
    def _one(self) -> Self:
        if ("to" in self.model_fields_set) == (self.pool is not None):
            raise PydanticCustomError("one_of", "either `to` (a user id, or null for nobody) or `pool` is needed")
        return self


class Close(Content):
    """It is over, and this is how it ended. "Saved by a concession" keeps the risk shown."""

    outcome: Annotated[Outcome, Field(description="how it ended")]
    churn_reason: Annotated[
        ChurnReason | None, Field(None, validate_default=True, description="needed when churned, else not allowed")
    ]
    avoidable: Annotated[
        bool | None,
        Field(
            None, validate_default=True, description="of a churn: without it, as the reason says (docs/lifecycle.md)"
        ),
    ]
    cause: Annotated[Cause | None, Field(None, description="where it began upstream")]
    comment: Annotated[
        Words | None, Field(None, validate_default=True, description="needed when churned: what happened")
    ]

    @field_validator("churn_reason", "comment", mode="after")
    @classmethod
    def _needed(cls, value: str | None, info: Any) -> str | None:
        outcome = info.data.get("outcome")
        if outcome == "churned" and value is None:
            what = f"one of {', '.join(CHURN_REASONS)}" if info.field_name == "churn_reason" else "what happened"
            raise PydanticCustomError("needed", "needed with outcome churned: {what}", {"what": what})
        if info.field_name == "churn_reason" and outcome not in (None, "churned") and value is not None:
            raise PydanticCustomError("not_churned", "only with outcome churned; leave it out")
        return value

    @field_validator("avoidable", mode="after")
    @classmethod
    def _only_churned(cls, value: bool | None, info: Any) -> bool | None:
        if value is not None and info.data.get("outcome") not in (None, "churned"):
            raise PydanticCustomError("not_churned", "only with outcome churned; leave it out")
        return value


class Comment(Content):
    """A note. It changes nothing else."""

    comment: Annotated[Words, Field(description="the note")]


class Undo(Content):
    """Take back one act; the undo of an undo puts it back in force."""

    undoes: Annotated[
        int | None,
        Field(None, strict=True, ge=1, le=2**31 - 1, description="version of that act; without it, the latest one"),
    ]
    comment: Why


CONTENTS: Final[Mapping[ActName, type[Content]]] = {
    "acknowledge": Acknowledge,
    "snooze": Snooze,
    "assign": Assign,
    "close": Close,
    "comment": Comment,
    "undo": Undo,
}


def avoidable(reason: ChurnReason) -> bool:
    """Whether churn for this reason could have been prevented, unless somebody says otherwise."""
    return reason not in UNAVOIDABLE


# --- what was done -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Episode:
    """What the engine says of an episode, as far as acts depend on it. `ordinal` is its last transition's."""

    severity: str
    ordinal: int
    cleared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act as it is kept. `severity` and `ordinal` are the episode's at that time; `data` as `recorded` makes it."""

    version: int
    act: ActName
    actor: str
    at: dt.datetime
    severity: str
    ordinal: int
    data: Mapping[str, Any]
    undoes: int | None = None
    request_id: str | None = None


class Refusal(Struct, frozen=True):
    """Why an act is not possible. `field` names what is wrong with it; None where the state of the signal is."""

    detail: str
    field: str | None = None


def refusal(
    content: Content, *, episode: Episode, handling: Handling, acts: Sequence[Act], now: dt.datetime
) -> Refusal | None:
    """Why an act is not possible now, or None.

    Anything may be said of a signal that the engine has cleared: it is recorded and reopens nothing. What is closed is
    neither acknowledged nor snoozed: that would look done and change nothing that people see.
    """
    match content:
        case Snooze() if content.until <= now:
            return Refusal(f"{_instant(content.until)} is not in the future", "until")
        case Snooze() if content.until > now + SNOOZE_AT_MOST:
            last = _instant(now + SNOOZE_AT_MOST)
            return Refusal(f"{SNOOZE_AT_MOST.days} days at most, so {last} is the latest", "until")
        case Undo():
            return _not_undone(handling.version if content.undoes is None else content.undoes, acts)
        case Acknowledge() | Snooze():
            status = shown(cleared=episode.cleared, ordinal=episode.ordinal, handling=handling, now=now)
            if status == "closed":
                return Refusal(
                    f"{handling.closed_by} closed it ({handling.outcome}) at {_instant(handling.closed_at)}; "
                    "undo that first, or wait: an escalation shows it again"
                )
    return None


def _not_undone(version: int, acts: Sequence[Act]) -> Refusal | None:
    if not any(act.version == version for act in acts):
        return Refusal(f"there is no act {version} on this signal; it has {len(acts)}", "undoes")
    by = taken_back(acts).get(version)
    return None if by is None else Refusal(f"act {version} was taken back by act {by} already; undo that", "undoes")


def recorded(content: Content, *, given_to: str | None = None) -> dict[str, Any]:
    """What is kept of an act, as JSON: what it says, without what was left out. `given_to`: whom a pool gave it to."""
    data = content.model_dump(mode="json", exclude_none=True, exclude={"undoes"})
    match content:
        case Assign():
            data["to"] = content.to if content.pool is None else given_to
        case Close() if content.churn_reason is not None and content.avoidable is None:
            data["avoidable"] = avoidable(content.churn_reason)
    return data


def taken_back(acts: Sequence[Act]) -> dict[int, int]:
    """Of each act that is not in force, by version: the version of the undo that took it back.

    `acts` are all acts on the episode, in their order. The later decides: an undo that is itself undone takes back nothing.
    """
    gone: dict[int, int] = {}
    for act in reversed(acts):
        if act.undoes is not None and act.version not in gone:
            gone[act.undoes] = act.version
    return gone


def fold(acts: Sequence[Act]) -> Handling:
    """What all acts on one episode, in their order, come to."""
    gone = taken_back(acts)
    handling = UNHANDLED
    for act in acts:
        said = handling if act.version in gone else apply(handling, act)
        first = handling.first_acknowledged_at
        if first is None and act.act in ("acknowledge", "snooze", "close"):
            first = act.at
        handling = replace(said, version=act.version, first_acknowledged_at=first)
    return handling


def apply(handling: Handling, act: Act) -> Handling:
    """What was said before, with one act that is in force added to it. A comment and an undo add nothing."""
    data = act.data
    match act.act:
        case "acknowledge":
            return replace(
                handling, acknowledged_at=act.at, acknowledged_by=act.actor, acknowledged_ordinal=act.ordinal
            )
        case "snooze":
            return replace(
                handling,
                snoozed_at=act.at,
                snoozed_by=act.actor,
                snoozed_until=dt.datetime.fromisoformat(data["until"]),
                snooze_reason=data["reason"],
                snoozed_ordinal=act.ordinal,
            )
        case "assign":
            return replace(handling, assignee=data["to"], pool=data.get("pool"))
        case "close":
            return replace(
                handling,
                # A concession is shown at once, whatever was waited for before.
                snoozed_at=None,
                snoozed_by=None,
                snoozed_until=None,
                snooze_reason=None,
                snoozed_ordinal=None,
                closed_at=act.at,
                closed_by=act.actor,
                closed_ordinal=act.ordinal,
                outcome=data["outcome"],
                churn_reason=data.get("churn_reason"),
                avoidable=data.get("avoidable"),
                cause=data.get("cause"),
            )
        case "comment" | "undo":
            return handling


# --- in words ------------------------------------------------------------------------------------------------------


def in_words(act: Act, now: dt.datetime) -> str:
    """An act as a sentence without its end: who, what, how long ago. "ana snoozed this until 2026-11-24 09:00 4 s ago"."""
    data = act.data
    match act.act:
        case "acknowledge":
            what = "acknowledged this"
        case "snooze":
            until = dt.datetime.fromisoformat(data["until"]).astimezone(dt.UTC)
            what = f"snoozed this until {until:%Y-%m-%d %H:%M} UTC ({data['reason']})"
        case "assign":
            what = "assigned this to nobody" if data["to"] is None else f"assigned this to {data['to']}"
        case "close":
            what = f"closed this as {data['outcome'].replace('_', ' ')}"
        case "comment":
            what = "commented"
        case "undo":
            what = f"took back act {act.undoes}"
    return f"{act.actor} {what} {ago(now - act.at)}"


def ago(age: dt.timedelta) -> str:
    """How long ago, in its largest unit: "4 s ago", "3 h ago", "12 d ago"."""
    seconds = max(0, int(age.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def changed_since(version: int, acts: Sequence[Act], now: dt.datetime) -> str:
    """What was done since a version that a client holds, in words; that the version is ahead, where it is."""
    since = [in_words(act, now) for act in acts if act.version > version]
    if not since:
        return f"there is no version {version} of this signal's handling; it is at {len(acts)}"
    return "; ".join(since)


def _instant(at: dt.datetime | None) -> str:
    return "" if at is None else at.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
