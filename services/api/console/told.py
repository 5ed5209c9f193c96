"""Events of an account's history as sentences. Pure; texts from outside stand in them as they are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from services.api.console import shown

LONGEST: Final = 240
_SETTLED: Final = {"paid": "paid", "partly_paid": "paid in part", "voided": "voided", "credited": "credited"}
_TICKET: Final = {
    "escalated": "escalated",
    "responded": "answered",
    "resolved": "solved",
    "reopened": "reopened",
    "closed": "closed",
    "updated": "changed",
}
_TOUCH: Final = {"held": "", "planned": " planned", "missed": " missed"}
_CALLED: Final = {"nps": "NPS", "csat": "CSAT", "ces": "CES"}
_DONE: Final = {
    "training.attended": "Training attended",
    "community.active": "Active in the community",
    "reference.given": "Gave a reference",
    "review.given": "Gave a review",
    "referral.made": "Made a referral",
    "mail.unsubscribed": "Unsubscribed from mail",
    "mail.bounced": "Mail bounced",
    "usage.value_reached": "Value reached",
}


def told(type_: str, data: Mapping[str, Any]) -> str:
    """One event of the history in a sentence."""
    family, _, what = type_.partition(".")
    match family:
        case "ticket":
            return _ticket(what, data)
        case "invoice":
            return _invoice(what, data)
        case "survey":
            return _survey(what, data)
        case "touchpoint":
            return _touchpoint(what, data)
        case "account":
            return _account(what, data)
    named = _DONE.get(type_)
    if named is None:
        return f"{type_}: {_members(data)}" if data else type_
    return f"{named}{_by(data)}" + (f": {_text(data['goal'])}" if data.get("goal") else "")


def _ticket(what: str, data: Mapping[str, Any]) -> str:
    name = f"Ticket {_text(data.get('ticket_id'))}"
    if what == "rated":
        return f"{name} rated {_text(data.get('score'))} of 5"
    about = [_text(data[key]).replace("_", " ") for key in ("priority", "topic", "category") if data.get(key)]
    said = "opened" if what == "opened" else _TICKET.get(what, what)
    return f"{name} {said}" + (f": {', '.join(about)}" if about else "") + _note(data)


def _invoice(what: str, data: Mapping[str, Any]) -> str:
    name = f"Invoice {_text(data.get('invoice_id'))}"
    if what == "payment_failed":
        return f"{name}: a payment failed" + (f", {_text(data['reason'])}" if data.get("reason") else "")
    amount = _money(data.get("amount"), data.get("currency"))
    if what == "issued":
        once = ", one-off" if data.get("recurring") is False else ""
        return f"{name} issued: {amount}, due {_day(data.get('due'))}{once}"
    return f"{name} {_SETTLED.get(what, what)}" + (f": {amount}" if data.get("amount") else "")


def _survey(what: str, data: Mapping[str, Any]) -> str:
    kind = _CALLED.get(str(data.get("kind")), _text(data.get("kind")))
    if what == "sent":
        return f"{kind} survey sent" + (f" to {_text(data['user'])}" if data.get("user") else "")
    score = "without a score" if data.get("score") is None else _text(data["score"])
    said = f" “{_text(data['comment'])}”" if data.get("comment") else ""
    return f"{kind} survey answered{_by(data)}: {score}{said}"


def _touchpoint(what: str, data: Mapping[str, Any]) -> str:
    kind = _text(data.get("kind") or "contact").replace("_", " ")
    said = f"{kind[:1].upper()}{kind[1:]}{_TOUCH.get(what, f' {what}')}"
    said += " (bulk)" if data.get("bulk") else ""
    said += f", {_text(data['direction'])}" if data.get("direction") else ""
    said += f" with {_text(data['contact_id'])}" if data.get("contact_id") else ""
    said += f" by {_text(data['by'])}" if data.get("by") else ""
    said += f", due {_day(data['due'])}" if what == "planned" and data.get("due") else ""
    return said + (", not answered" if data.get("answered") is False else "")


def _account(what: str, data: Mapping[str, Any]) -> str:
    match what:
        case "updated":
            return f"Profile changed: {_members(data)}"
        case "renewed":
            return "Renewed" + (f" at {_money(data['mrr'], data.get('currency'))} a month" if data.get("mrr") else "")
        case "churned":
            return f"Churned: {_text(data.get('reason')).replace('_', ' ')}"
        case "contact_changed" | "contact_left":
            name = _text(data.get("name") or data.get("contact_id"))
            roles = ", ".join(_text(role).replace("_", " ") for role in data.get("roles") or ())
            moved = f", now at {_text(data['moved_to'])}" if data.get("moved_to") else ""
            return f"{name} left" if what == "contact_left" else f"Contact {name}{f': {roles}' if roles else ''}{moved}"
        case "goal_set" | "goal_measured" | "goal_achieved":
            number = next((data[key] for key in ("value", "target") if data.get(key) is not None), None)
            said = f"Goal {_text(data.get('goal'))} {what.removeprefix('goal_')}"
            return said + (f": {_text(number)}" if number is not None else "")
        case "commitment_made" | "commitment_kept":
            due = f", due {_day(data['due'])}" if data.get("due") else ""
            return f"{'Promised' if what.endswith('made') else 'Promise kept'}: {_text(data.get('commitment'))}{due}"
        case "subscription_changed":
            kind = _text(data.get("kind") or "changed").replace("_", " ")
            return f"Subscription {_text(data.get('product'))} {kind}: {_money(data.get('mrr'), data.get('currency'))} a month"
        case "milestone_planned" | "milestone_done":
            due = f", due {_day(data['due'])}" if data.get("due") else ""
            return f"Milestone {_text(data.get('milestone'))} {what.removeprefix('milestone_')}{due}"
    return f"{what.replace('_', ' ')[:1].upper()}{what.replace('_', ' ')[1:]}: {_members(data)}"


def _members(data: Mapping[str, Any]) -> str:
    return _text(", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in data.items()))


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return " ".join(_value(inner) for inner in value)
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _by(data: Mapping[str, Any]) -> str:
    return f" by {_text(data['user'])}" if data.get("user") else ""


def _note(data: Mapping[str, Any]) -> str:
    return f" “{_text(data['note'])}”" if data.get("note") else ""


def _text(value: object) -> str:
    line = "–" if value is None else " ".join(str(value).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _day(value: object) -> str:
    try:
        return shown.day(dt.date.fromisoformat(str(value)))
    except ValueError:
        return _text(value)


def _money(amount: object, currency: object) -> str:
    try:
        return shown.money(str(amount), None if currency is None else str(currency))
    except ArithmeticError:
        return _text(amount)
