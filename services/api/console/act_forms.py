"""What the forms of acts say: a button's name, and the fields beside it, as an act that the api knows. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, get_args

from msgspec import Struct
from pydantic import ValidationError

from schemas.lifecycle import ActName, Outcome
from services.api.acts import Wanted
from services.api.console.directory import POOL, Directory
from services.api.console.forms import Form
from services.api.console.shown import Clock
from services.api.lifecycle import CONTENTS
from services.common.problems import FieldError, Problem, bad_parameter

MORNING: Final = dt.time(9)
"""When a snoozed signal comes back, in the zone of who snoozed it."""
CARRIED: Final = (
    "do",
    "comment",
    "to",
    "until",
    "reason",
    "outcome",
    "churn_reason",
    "cause",
    "undoes",
    "view",
    "here",
)
"""Fields that are sent again where others were quicker."""


class Preset(Struct, frozen=True):
    """A snooze of one click: how many mornings on, and what is waited for."""

    days: int
    label: str
    reason: str


SNOOZES: Final = {
    "snooze-1": Preset(1, "tomorrow", "awaiting reply"),
    "snooze-2": Preset(3, "3 days", "away"),
    "snooze-3": Preset(7, "7 days", "plan running"),
}
OUTCOME_NAMES: Final[dict[str, str]] = {
    "saved": "saved",
    "saved_by_concession": "saved by a concession",
    "churned": "churned",
    "false_alarm": "false alarm",
    "no_action": "no action needed",
}
assert tuple(OUTCOME_NAMES) == get_args(Outcome)

ACT_NAMES: Final[dict[str, str]] = {
    "acknowledge": "Acknowledge",
    "snooze": "Snooze",
    "assign": "Assign",
    "close": "Close",
    "comment": "Comment",
    "undo": "Undo",
}


def wanted(form: Form, me: str | None, directory: Directory, clock: Clock) -> Wanted:
    """The act of a posted form. `me` is the user who is signed in. Raises a 400 problem that names fields."""
    act, said = _said(form, me, directory, clock)
    if act != "comment" and (comment := form.get("comment")):
        said["comment"] = comment
    try:
        content = CONTENTS[act].model_validate(said)
    except ValidationError as error:
        raise _refused(error) from None
    do = form.get("do") or ""
    asked = form.get("request_id")
    return Wanted(
        act=act,
        content=content,
        version=_number(form, "version"),
        seen=None if form.get("seen") is None else _number(form, "seen"),
        # Two clicks are one act; another button of the same row is another.
        request_id=None if asked is None else f"{asked}.{do}"[:64],
    )


def _said(form: Form, me: str | None, directory: Directory, clock: Clock) -> tuple[ActName, dict[str, Any]]:
    do = form.get("do") or ""
    match do:
        case "acknowledge":
            return "acknowledge", {}
        case "comment":
            return "comment", {"comment": form.get("comment")}
        case "undo":
            return "undo", {"undoes": _number(form, "undoes") or None}
        case "take":
            if me is None:
                raise _field("to", "this key is nobody's, so nothing can be assigned to it; name a user")
            return "assign", {"to": me}
        case "unassign":
            return "assign", {"to": None}
        case "assign":
            return "assign", assignee(form.get("to"), directory)
        case "snooze":
            return "snooze", {"until": _day(form.get("until"), clock), "reason": form.get("reason") or ""}
        case "close":
            return "close", _closing(form, form.get("outcome"))
    if do in SNOOZES:
        preset = SNOOZES[do]
        return "snooze", {"until": morning(clock, preset.days), "reason": preset.reason}
    if do.startswith("close-"):
        return "close", _closing(form, do.removeprefix("close-"))
    raise _field("do", "no such act; open the page again")


def _closing(form: Form, outcome: str | None) -> dict[str, Any]:
    if outcome is None:
        raise _field("outcome", "choose how it ended")
    said: dict[str, Any] = {"outcome": outcome}
    names = ("churn_reason", "cause") if outcome == "churned" else ("cause",)
    return said | {name: value for name in names if (value := form.get(name))}


def assignee(given: str | None, directory: Directory) -> dict[str, Any]:
    """Whom a signal is given to: a user by id or by name, or a pool. Raises a 400 problem for who is neither."""
    if given is None:
        raise _field("to", "name a person or a pool")
    if given.startswith(POOL):
        return {"pool": given.removeprefix(POOL).strip()}
    if given in directory.users:
        return {"to": given}
    called = [user for user, name in directory.users.items() if name.casefold() == given.casefold()]
    if len(called) == 1:
        return {"to": called[0]}
    if given in directory.pools:
        return {"pool": given}
    why = "several people are called so; give the user id" if called else "no person or pool of that name"
    raise _field("to", f"{given!r}: {why}")


def morning(clock: Clock, days: int) -> dt.datetime:
    """The morning so many days from today, in the reader's zone."""
    day = clock.now.astimezone(clock.zone).date() + dt.timedelta(days=days)
    return dt.datetime.combine(day, MORNING, clock.zone).astimezone(dt.UTC)


def _day(given: str | None, clock: Clock) -> dt.datetime:
    try:
        return dt.datetime.combine(dt.date.fromisoformat(given or ""), MORNING, clock.zone).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise _field("until", "a day is needed, such as 2026-05-01") from None


def _number(form: Form, name: str) -> int:
    given = form.get(name) or "0"
    if not (given.isascii() and given.isdigit() and len(given) <= 9):
        raise _field(name, "a whole number is needed; open the page again")
    return int(given)


def _field(name: str, detail: str) -> Problem:
    return bad_parameter(FieldError(name, detail))


def _refused(error: ValidationError) -> Problem:
    return bad_parameter(
        *(FieldError(".".join(map(str, entry["loc"])) or "form", entry["msg"]) for entry in error.errors())
    )
