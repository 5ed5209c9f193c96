"""A brief as text: one page of Markdown to read, print or paste. Pure."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from schemas.priority import amount

SIGNALS_SHOWN: Final = 6
LONGEST: Final = 300
_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>#|~])")


def markdown(brief: dict[str, Any]) -> str:
    """The page. Texts from outside are escaped: a name is never a heading or a link."""
    parts = [
        _head(brief),
        _section("Health", _health(brief["health"])),
        _section(f"Open signals ({brief['open_signals']})", _signals(brief)),
        _section("Next", [_next(one) for one in brief["next_actions"][:SIGNALS_SHOWN]]),
        _section("Tickets", _tickets(brief["tickets"])),
        _section("Latest survey", [_survey(brief["survey"])]),
        _section("Usage", [_usage(brief["usage"])]),
        _section("Overdue invoices", _invoices(brief["invoices"])),
        _section("Training", [_training(brief["trainings"])]),
        _section("Contact", _touchpoints(brief["touchpoints"])),
        _section("People", _people(brief["contacts"])),
        _section("Goals and promises", [*map(_goal, brief["goals"]), *map(_promise, brief["commitments"])]),
        _section("Renewal", _renewal(brief["renewal"])),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def plain(text: object) -> str:
    """A text from outside, on one line, cut, with nothing in it that Markdown would take for its own."""
    line = " ".join(str(text).split())
    line = line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
    return _SPECIAL.sub(r"\\\1", line)


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([f"## {title}", *(f"- {line}" for line in lines), ""]) if lines else ""


def _head(brief: dict[str, Any]) -> str:
    account = brief["account"]
    facts = [plain(account[name]) for name in ("tier", "industry", "size", "plan", "stage") if account[name]]
    if account["arr"] is not None:
        facts.append(f"ARR {_money(account['arr'], account['currency'])}")
    if account["customer_since"] is not None:
        facts.append(f"customer since {account['customer_since']} ({account['tenure_days']} days)")
    if account["csm"]:
        facts.append(f"CSM {plain(account['csm'])}")
    if account["churned"]:
        facts.append("churned")
    title = f"# {plain(account['name'] or account['account_id'])}"
    seen = "" if brief["history_since"] is None else f"; history since {_day(brief['history_since'])}"
    lines = [title, "", " · ".join(facts) or plain(account["account_id"]), "", f"As of {_day(brief['as_of'])}{seen}."]
    if brief["rank"] is not None:
        why = ", ".join(f"{plain(part['words'])} ×{part['factor']:g}" for part in brief["parts"] if part["factor"] != 1)
        lines.append(f"Rank {brief['rank']:g}" + (f": {why}." if why else "."))
    return "\n".join([*lines, ""])


def _ended(text: str) -> str:
    """A sentence with its full stop."""
    return plain(text).rstrip(".") + "."


def _health(health: dict[str, Any]) -> list[str]:
    if health["score"] is None:
        return ["No score: there is not enough data for one."]
    trend = [
        f"{round(health[name]):+d} in {days} days"
        for name, days in (("change_7d", 7), ("change_30d", 30))
        if health[name] is not None
    ]
    rests = f"rests on {health['coverage']:.0%} of what is asked for"
    lines = [", ".join([f"{health['score']:.0f} of 100, {health['band']}", *trend, rests])]
    worst = next((c for c in health["components"] or [] if c["name"] == health["largest_detractor"]), None)
    if worst is not None:
        lines.append(f"Held down most by {plain(worst['name'])}: {_ended(worst['why'])} {_ended(worst['action'])}")
    if health["would_change"]:
        first = health["would_change"][0]
        lines.append(f"{plain(first['change'])}: {first['score']:.0f}")
    return lines


def _signals(brief: dict[str, Any]) -> list[str]:
    lines = [_signal(one) for one in [*brief["signals"], *brief["tasks"]][:SIGNALS_SHOWN]] or ["None."]
    if brief["closed_signals"]:
        lines.append(f"Left out: {brief['closed_signals']} that people closed.")
    return lines


def _signal(one: dict[str, Any]) -> str:
    about = f" ({plain(one['about'] or one['user'])})" if one["about"] or one["user"] else ""
    stands = f" **{_ended(one['stands'][:1].upper() + one['stands'][1:])}**" if one["stands"] else ""
    note = f" {plain(one['note']['said'])}: “{plain(one['note']['text'])}”" if one["note"] else ""
    reason = plain(one["reason"]).rstrip(".")
    return f"**{one['severity']}** {one['signal']}{about} since {_day(one['opened_at'])}: {reason}.{stands}{note}"


def _next(one: dict[str, Any]) -> str:
    return f"{plain(one['title'])} ({plain(one['owner'])}; {', '.join(one['because'])})"


def _tickets(tickets: dict[str, Any]) -> list[str]:
    opened = tickets["opened"]
    lines = [
        f"Opened: {opened['14d']} in 14 days, {opened['30d']} in 30, {opened['90d']} in 90. Open now: {tickets['open']}."
    ]
    for one in tickets["by_topic"]:
        topic = "no topic" if one["topic"] is None else plain(one["topic"])
        counts = one["opened"]
        lines.append(f"{topic}: {counts['14d']} / {counts['30d']} / {counts['90d']}, {one['open']} open")
    for one in tickets["open_tickets"][:3]:
        about = f", {plain(one['topic'])}" if one["topic"] else ""
        lines.append(f"open {one['priority']} {plain(one['ticket_id'])}{about}, {one['open_days']} days")
    return lines


def _survey(survey: dict[str, Any] | None) -> str:
    if survey is None:
        return "None was sent."
    kind = survey["kind"].upper() if len(survey["kind"]) <= 4 else survey["kind"]
    if survey["state"] != "answered":
        return f"{kind} sent {_day(survey['sent_at'])}, {'unanswered' if survey['state'] == 'unanswered' else 'no answer yet'}."
    who = f" by {plain(survey['user'])}" if survey["user"] else ""
    verdict = " (negative)" if survey["negative"] else ""
    said = f" “{plain(survey['comment'])}”" if survey["comment"] else ""
    score = "without a score" if survey["score"] is None else str(survey["score"])
    return f"{kind} {score}{verdict}{who} on {_day(survey['answered_at'])}.{said}"


def _usage(usage: dict[str, Any]) -> str:
    if not usage["available"]:
        return "No usage data comes from this account: nothing can be said of it."
    change = "" if usage["change"] is None else f" ({usage['change']:+.0%} on the 28 days before)"
    people = f"{usage['active_users_28d']} active users" + (f" of {usage['seats']} seats" if usage["seats"] else "")
    weeks = ", ".join(map(str, usage["weeks"]))
    return (
        f"{usage['usage_28d']} uses in 28 days{change}; {people}; last seen {_day(usage['last_seen'])}. Weeks: {weeks}."
    )


def _invoices(invoices: dict[str, Any]) -> list[str]:
    lines = [
        f"{plain(one['invoice_id'])}: {_money(one['owed'], one['currency'])}, {one['days_overdue']} days"
        + ("" if one["recurring"] else ", one-off")
        for one in invoices["overdue"][:3]
    ]
    more = len(invoices["overdue"]) - len(lines)
    return [*lines, *([f"and {more} more"] if more else [])] or ["None."]


def _training(trainings: dict[str, Any]) -> str:
    if not trainings["latest"]:
        return "None attended in a year."
    last = trainings["latest"][0]
    return (
        f"{trainings['last_year']} attended in a year; the last on {_day(last['time'])} ({last['days_ago']} days ago)."
    )


def _touchpoints(touch: dict[str, Any]) -> list[str]:
    held = touch["held"]
    lines = [f"Personal contacts: {held['14d']} in 14 days, {held['30d']} in 30, {held['90d']} in 90."]
    if touch["latest"]:
        last = touch["latest"][0]
        by = f" by {plain(last['by'])}" if last["by"] else ""
        lines.append(f"Last: {plain(last['kind'])}{by} on {_day(last['time'])} ({touch['last_days_ago']} days ago).")
    if touch["planned"]:
        lines.append(f"Next: {plain(touch['planned'][0]['kind'])} on {touch['planned'][0]['due']}.")
    if touch["missed_90d"]:
        lines.append(f"Missed in 90 days: {touch['missed_90d']}.")
    return lines


def _people(contacts: dict[str, Any]) -> list[str]:
    lines = [
        f"{plain(one['name'] or one['contact_id'])}"
        + (f": {', '.join(role.replace('_', ' ') for role in one['roles'])}" if one["roles"] else "")
        + (f" (away until {one['away_until']})" if one["away_until"] else "")
        for one in contacts["people"][:5]
    ]
    if contacts["missing_roles"]:
        lines.append(
            "Nobody known as " + " or ".join(role.replace("_", " ") for role in contacts["missing_roles"]) + "."
        )
    return lines


def _goal(goal: dict[str, Any]) -> str:
    name = plain(goal["goal"])
    if goal["achieved_at"] is not None:
        return f"Reached {_day(goal['achieved_at'])}: {name}"
    now = "" if goal["value"] is None else f", now {_number(goal['value'])}"
    aim = "" if goal["target"] is None else f", target {_number(goal['target'])}"
    due = "" if goal["due"] is None else f", due {goal['due']}"
    return f"{name}{now}{aim}{due}"


def _promise(promise: dict[str, Any]) -> str:
    due = "" if promise["due"] is None else f", due {promise['due']}" + (" (late)" if promise["late"] else "")
    return f"Promised: {plain(promise['commitment'])}{due}"


def _renewal(renewal: dict[str, Any]) -> list[str]:
    if renewal["date"] is None:
        lines = ["No renewal date is known."]
    else:
        how = {True: ", renews by itself", False: ", does not renew by itself"}.get(renewal["auto_renew"], "")
        when = f"in {renewal['days']} days" if renewal["days"] >= 0 else f"{-renewal['days']} days ago, not renewed yet"
        lines = [f"{renewal['date']}, {when}{how}."]
    if renewal["opt_out_by"] is not None:
        lines.append(f"May opt out until {renewal['opt_out_by']}.")
    if renewal["price_step"] is not None:
        step = renewal["price_step"]
        lines.append(f"Price {step['percent']:+g} % on {step['date']}, in {step['days']} days.")
    return lines


def _money(text: str, currency: str | None) -> str:
    return f"{_number(text)} {plain(currency)}" if currency else _number(text)


def _number(given: object) -> str:
    """A number of the contract, which may be written as text."""
    try:
        return amount(Decimal(str(given)))
    except InvalidOperation:
        return plain(given)


def _day(at: dt.datetime | str | None) -> str:
    """The day of an instant, as it is read: whole records hold instants as text."""
    return "never" if at is None else str(at)[:10]
