"""The account on one page, for the minute before a call: made from its health record, open signals and history. Pure.

It needs no usage data: what is not known is said to be unknown, and the rest is there. Time is the caller's `now`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from msgspec import Struct

from schemas.lifecycle import Status
from schemas.priority import Part, situation

TYPES: Final = (
    *(f"ticket.{what}" for what in ("opened", "updated", "escalated", "resolved", "reopened", "closed")),
    *(f"invoice.{what}" for what in ("issued", "paid", "partly_paid", "payment_failed", "voided", "credited")),
    *("survey.sent", "survey.answered", "training.attended", "usage.value_reached", "contact.away"),
    *("touchpoint.held", "touchpoint.planned", "touchpoint.missed"),
    *("account.contact_changed", "account.contact_left", "account.commitment_made", "account.commitment_kept"),
    *("account.goal_set", "account.goal_measured", "account.goal_achieved"),
)
"""The event types that a brief is made from."""

WINDOWS_D: Final = (14, 30, 90)
TRAINED_D: Final = 365
SURVEY_DUE_D: Final = 14
LOWEST_GOOD: Final = {"nps": 7}
LOWEST_GOOD_OF_5: Final = 3
ROLES: Final = ("executive_sponsor", "champion", "admin", "buyer", "user")
WANTED_ROLES: Final = ROLES[:2]
MOST_TOPICS, MOST_TICKETS, MOST_TOUCHES, MOST_TRAININGS, MOST_CONTACTS, MOST_GOALS = 8, 8, 5, 5, 10, 6
TASKS: Final = "lifecycle"


class Event(Struct, frozen=True):
    """One event of the account's history."""

    time: dt.datetime
    type: str
    data: dict[str, Any]


class OpenSignal(Struct, frozen=True):
    """One signal that is neither cleared nor closed by people, the next step with it.

    `stands` is what people said of it, in words; `note` the last that somebody wrote about it: text, by, at, said ("Ana, 3
    days ago").
    """

    episode_id: str
    signal: str
    kind: str
    severity: str
    reason: str
    opened_at: dt.datetime
    rank: float
    user: str | None
    about: str | None
    action: dict[str, Any]
    status: Status = "open"
    stands: str | None = None
    note: dict[str, Any] | None = None


class Known(Struct, frozen=True, kw_only=True):
    """What is recorded of the account besides its history. `health` is the latest record, `usage_weeks` oldest first.

    `closed_count`: signals that people closed and the engine has not cleared yet; they stand in no other member.
    """

    account_id: str
    health: dict[str, Any]
    profile: dict[str, Any]
    first_event_at: dt.datetime | None
    signals: list[OpenSignal]
    open_count: int
    closed_count: int = 0
    rank: float | None
    parts: list[Part]
    usage_weeks: list[int]


class _Ticket(Struct):
    ticket_id: str
    opened_at: dt.datetime
    priority: str
    topic: str | None
    category: str | None
    is_open: bool = True
    escalated: bool = False


class _Invoice(Struct):
    invoice_id: str
    amount: Decimal
    currency: str
    due: dt.date
    recurring: bool
    settled: bool = False
    paid: Decimal = Decimal(0)
    failed: int = 0


def brief(known: Known, events: Iterable[Event], now: dt.datetime, *, complete: bool) -> dict[str, Any]:
    """The brief. `events` in order of time; `complete` is false where older ones were left out."""
    history = list(events)
    today = now.astimezone(dt.UTC).date()
    tasks = [one for one in known.signals if one.signal.startswith(f"{TASKS}.")]
    return {
        "account": _account(known, today),
        "as_of": now,
        "history_since": None if complete or not history else history[0].time,
        "rank": known.rank,
        "parts": [{"part": part.part, "factor": float(part.factor), "words": part.words} for part in known.parts],
        "health": _health(known.health),
        "signals": [_signal(one) for one in known.signals if one not in tasks],
        "tasks": [_signal(one) for one in tasks],
        "open_signals": known.open_count,
        "closed_signals": known.closed_count,
        # What somebody put off is no next step before its time.
        "next_actions": _next_actions(one for one in known.signals if one.status != "snoozed"),
        "tickets": _tickets(history, now),
        "survey": _survey(history, now),
        "usage": _usage(known),
        "invoices": _invoices(history, today),
        "trainings": _trainings(history, now),
        "touchpoints": _touchpoints(history, now),
        "contacts": _contacts(history, today),
        "goals": _goals(history),
        "commitments": _commitments(history, today),
        "renewal": _renewal(known, today),
    }


def _account(known: Known, today: dt.date) -> dict[str, Any]:
    profile = known.profile
    about = situation(profile, known.first_event_at)
    names = ("name", "tier", "industry", "size", "region", "plan", "seats", "stage", "use_case", "mrr", "currency")
    return (
        {"account_id": known.account_id}
        | {name: profile.get(name) for name in (*names, "csm", "sales_owner", "finance_owner")}
        | {
            "arr": None if about.mrr is None else str(about.mrr * 12),
            "customer_since": about.since,
            "tenure_days": None if about.since is None else (today - about.since).days,
            "churned": bool(known.health.get("churned")),
        }
    )


def _health(record: Mapping[str, Any]) -> dict[str, Any]:
    names = ("score", "band", "coverage", "change_7d", "change_30d", "largest_detractor", "components", "would_change")
    return {name: record.get(name) for name in names} | {"as_of": record["as_of"]}


def _signal(one: OpenSignal) -> dict[str, Any]:
    return {name: getattr(one, name) for name in OpenSignal.__struct_fields__}


def _next_actions(signals: Iterable[OpenSignal]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for one in signals:
        title = str(one.action.get("title"))
        entry = found.setdefault(title, {"title": title, "owner": one.action.get("owner"), "because": []})
        if one.signal not in entry["because"]:
            entry["because"].append(one.signal)
    return list(found.values())


# --- tickets -------------------------------------------------------------------------------------------------------


def _tickets(history: Iterable[Event], now: dt.datetime) -> dict[str, Any]:
    tickets = _fold_tickets(history)
    still = sorted((t for t in tickets if t.is_open), key=lambda t: (t.priority, t.opened_at))
    topics: dict[str | None, list[_Ticket]] = {}
    for ticket in tickets:
        topics.setdefault(ticket.topic, []).append(ticket)
    by_topic: list[dict[str, Any]] = [
        {"topic": topic, "opened": _opened(group, now), "open": sum(t.is_open for t in group)}
        for topic, group in topics.items()
    ]
    by_topic = [one for one in by_topic if one["open"] or any(one["opened"].values())]
    by_topic.sort(
        key=lambda one: (*(-one["opened"][f"{days}d"] for days in WINDOWS_D), -one["open"], str(one["topic"]))
    )
    return {
        "opened": _opened(tickets, now),
        "open": len(still),
        "by_topic": by_topic[:MOST_TOPICS],
        "open_tickets": [
            {
                "ticket_id": t.ticket_id,
                "priority": t.priority,
                "topic": t.topic,
                "category": t.category,
                "opened_at": t.opened_at,
                "open_days": (now - t.opened_at).days,
                "escalated": t.escalated,
            }
            for t in still[:MOST_TICKETS]
        ],
    }


def _opened(tickets: list[_Ticket], now: dt.datetime) -> dict[str, int]:
    return {f"{days}d": sum(_within(t.opened_at, now, days) for t in tickets) for days in WINDOWS_D}


def _fold_tickets(history: Iterable[Event]) -> list[_Ticket]:
    found: dict[str, _Ticket] = {}
    for event in history:
        family, _, what = event.type.partition(".")
        if family != "ticket":
            continue
        data = event.data
        name = str(data.get("ticket_id"))
        if what == "opened":
            held = _Ticket(name, event.time, data.get("priority", "P4"), data.get("topic"), data.get("category"))
            found.setdefault(name, held)
            continue
        ticket = found.get(name)
        if ticket is None:
            continue
        match what:
            case "updated":
                ticket.priority = data.get("priority") or ticket.priority
                ticket.topic = data.get("topic") or ticket.topic
                ticket.category = data.get("category") or ticket.category
            case "escalated":
                ticket.escalated = True
            case "resolved" | "closed":
                ticket.is_open = False
            case "reopened":
                ticket.is_open = True
    return list(found.values())


# --- surveys, usage, money -----------------------------------------------------------------------------------------


def _survey(history: Iterable[Event], now: dt.datetime) -> dict[str, Any] | None:
    """The survey that was sent or answered last, with its last answer."""
    last: str | None = None
    sent: dict[str, dt.datetime] = {}
    answers: dict[str, list[Event]] = {}
    kinds: dict[str, str] = {}
    for event in history:
        if event.type not in ("survey.sent", "survey.answered"):
            continue
        last = str(event.data.get("survey_id"))
        kinds[last] = str(event.data.get("kind"))
        if event.type == "survey.sent":
            sent.setdefault(last, event.time)
        else:
            answers.setdefault(last, []).append(event)
    if last is None:
        return None
    given = answers.get(last, [])
    answer = given[-1] if given else None
    score = None if answer is None else answer.data.get("score")
    state: Literal["answered", "unanswered", "waiting"]
    if answer is not None:
        state = "answered"
    else:
        state = "unanswered" if now >= sent[last] + dt.timedelta(days=SURVEY_DUE_D) else "waiting"
    kind = kinds[last]
    return {
        "survey_id": last,
        "kind": kind,
        "state": state,
        "sent_at": sent.get(last),
        "answered_at": None if answer is None else answer.time,
        "answers": len(given),
        "score": score,
        "negative": None if score is None else score < LOWEST_GOOD.get(kind, LOWEST_GOOD_OF_5),
        "user": None if answer is None else answer.data.get("user"),
        "comment": None if answer is None else answer.data.get("comment"),
    }


def _usage(known: Known) -> dict[str, Any]:
    windows = known.health["windows"]
    seen = known.health.get("inputs_seen") or []
    available = any(name.startswith("usage.") for name in seen) or windows.get("last_seen") is not None
    if not available:
        return {"available": False}
    before = windows.get("usage_prev_28d", 0)
    current = windows.get("usage_28d", 0)
    return {
        "available": True,
        "last_seen": windows.get("last_seen"),
        "usage_28d": current,
        "usage_prev_28d": before,
        "change": round(current / before - 1, 3) if before else None,
        "active_users_28d": windows.get("active_users_28d", 0),
        "seats": known.profile.get("seats"),
        "weeks": known.usage_weeks,
    }


def _invoices(history: Iterable[Event], today: dt.date) -> dict[str, Any]:
    late = sorted((i for i in _fold_invoices(history) if not i.settled and i.due < today), key=lambda i: i.due)
    totals: dict[str, Decimal] = {}
    for invoice in late:
        totals[invoice.currency] = totals.get(invoice.currency, Decimal(0)) + invoice.amount - invoice.paid
    return {
        "overdue": [
            {
                "invoice_id": i.invoice_id,
                "amount": str(i.amount),
                "owed": str(i.amount - i.paid),
                "currency": i.currency,
                "due": i.due,
                "days_overdue": (today - i.due).days,
                "recurring": i.recurring,
                "failed_payments": i.failed,
            }
            for i in late
        ],
        "owed": {currency: str(total) for currency, total in sorted(totals.items())},
        "oldest_days": (today - late[0].due).days if late else None,
    }


def _fold_invoices(history: Iterable[Event]) -> list[_Invoice]:
    """Payments come from another system than invoices do: one that is there first counts when the invoice comes."""
    found: dict[str, _Invoice] = {}
    settlements: list[tuple[str, str, Decimal | None]] = []
    for event in history:
        family, _, what = event.type.partition(".")
        if family != "invoice":
            continue
        data = event.data
        name = str(data.get("invoice_id"))
        amount, due = _decimal(data.get("amount")), _day(data.get("due"))
        if what != "issued":
            settlements.append((name, what, amount))
        elif name not in found and amount is not None and due is not None:
            currency = str(data.get("currency"))
            found[name] = _Invoice(name, amount, currency, due, bool(data.get("recurring", True)))
    for name, what, amount in settlements:
        invoice = found.get(name)
        if invoice is None:
            continue
        if what == "payment_failed":
            invoice.failed += 1
        elif what in ("paid", "voided") or amount is None:
            invoice.settled = True
        else:
            invoice.paid += amount
            invoice.settled = invoice.settled or invoice.paid >= invoice.amount
    return list(found.values())


# --- people and promises -------------------------------------------------------------------------------------------


def _trainings(history: Iterable[Event], now: dt.datetime) -> dict[str, Any]:
    attended = [e for e in history if e.type == "training.attended" and _within(e.time, now, TRAINED_D)]
    latest = attended[::-1][:MOST_TRAININGS]
    return {
        "last_year": len(attended),
        "people": len({e.data.get("user") for e in attended if e.data.get("user")}),
        "latest": [{"time": e.time, "user": e.data.get("user"), "days_ago": _days_ago(e.time, now)} for e in latest],
    }


def _touchpoints(history: list[Event], now: dt.datetime) -> dict[str, Any]:
    held = [e for e in history if e.type == "touchpoint.held"]
    personal = [e for e in held if not e.data.get("bulk")]
    today = now.astimezone(dt.UTC).date()
    planned = [
        e for e in history if e.type == "touchpoint.planned" and (_day(e.data.get("due")) or dt.date.min) >= today
    ]
    planned.sort(key=lambda e: str(e.data.get("due") or ""))
    missed = [e for e in history if e.type == "touchpoint.missed" and _within(e.time, now, WINDOWS_D[-1])]
    return {
        "held": {f"{days}d": sum(_within(e.time, now, days) for e in personal) for days in WINDOWS_D},
        "latest": [_touch(e) for e in personal[::-1][:MOST_TOUCHES]],
        "last_days_ago": _days_ago(personal[-1].time, now) if personal else None,
        "planned": [{"kind": e.data.get("kind"), "due": e.data.get("due")} for e in planned[:MOST_TOUCHES]],
        "missed_90d": len(missed),
    }


def _touch(event: Event) -> dict[str, Any]:
    names = ("kind", "direction", "by", "contact_id", "answered")
    return {"time": event.time} | {name: event.data.get(name) for name in names}


def _contacts(history: Iterable[Event], today: dt.date) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for event in history:
        data = event.data
        if event.type not in ("account.contact_changed", "account.contact_left", "contact.away"):
            continue
        name = str(data.get("contact_id"))
        if event.type == "contact.away":
            until = _day(data.get("until"))
            if name in found:
                found[name]["away_until"] = until if until is not None and until >= today else None
            continue
        held = found.setdefault(
            name, {"contact_id": name, "name": None, "roles": [], "left": False, "away_until": None}
        )
        held["name"] = data.get("name") or held["name"]
        if data.get("roles") is not None:
            held["roles"] = list(data["roles"])
        held["left"] = event.type == "account.contact_left" or bool(data.get("moved_to"))
    here = [one for one in found.values() if not one["left"]]
    here.sort(key=lambda one: (min((ROLES.index(r) for r in one["roles"] if r in ROLES), default=9), one["contact_id"]))
    roles = {role for one in here for role in one["roles"]}
    return {
        "people": [{name: one[name] for name in one if name != "left"} for one in here[:MOST_CONTACTS]],
        "count": len(here),
        "missing_roles": [role for role in WANTED_ROLES if role not in roles],
    }


def _goals(history: Iterable[Event]) -> list[dict[str, Any]]:
    """Open goals by their due date, then achieved ones."""
    found: dict[str, dict[str, Any]] = {}
    members = ("metric", "baseline", "target", "due", "value")
    for event in history:
        data = event.data
        if not event.type.startswith("account.goal_") and event.type != "usage.value_reached":
            continue
        name = str(data.get("goal"))
        held = found.setdefault(name, {"goal": name} | dict.fromkeys(members) | {"achieved_at": None})
        held.update({member: data[member] for member in members if data.get(member) is not None})
        if event.type in ("account.goal_achieved", "usage.value_reached"):
            held["achieved_at"] = held["achieved_at"] or event.time
    goals = sorted(found.values(), key=lambda one: (one["achieved_at"] is not None, str(one["due"] or "~")))
    return goals[:MOST_GOALS]


def _commitments(history: Iterable[Event], today: dt.date) -> list[dict[str, Any]]:
    """Promises that are not kept yet, the earliest due first."""
    found: dict[str, str | None] = {}
    for event in history:
        name = str(event.data.get("commitment"))
        if event.type == "account.commitment_made":
            found[name] = event.data.get("due") or found.get(name)
        elif event.type == "account.commitment_kept":
            found.pop(name, None)
    open_now = sorted(found.items(), key=lambda one: (one[1] or "~", one[0]))
    return [
        {"commitment": name, "due": due, "late": (_day(due) or today) < today} for name, due in open_now[:MOST_GOALS]
    ]


def _renewal(known: Known, today: dt.date) -> dict[str, Any]:
    profile = known.profile
    about = situation(profile, known.first_event_at)
    opt_out = _day(profile.get("opt_out_by"))
    step = None
    if about.step_date is not None and about.step_percent is not None and about.step_date >= today:
        days = (about.step_date - today).days
        step = {"date": about.step_date, "percent": float(about.step_percent), "days": days}
    return {
        "date": about.renewal,
        "days": None if about.renewal is None else (about.renewal - today).days,
        "auto_renew": profile.get("auto_renew"),
        "opt_out_by": opt_out,
        "opt_out_days": None if opt_out is None else (opt_out - today).days,
        "price_step": step,
    }


def _days_ago(at: dt.datetime, now: dt.datetime) -> int:
    """Midnights (UTC) since: yesterday evening is 1 day ago."""
    return (now.astimezone(dt.UTC).date() - at.astimezone(dt.UTC).date()).days


def _within(at: dt.datetime, now: dt.datetime, days: int) -> bool:
    return now - dt.timedelta(days=days) < at <= now


def _decimal(given: object) -> Decimal | None:
    try:
        found = Decimal(given) if isinstance(given, str) else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() else None


def _day(given: object) -> dt.date | None:
    try:
        return dt.date.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        return None
