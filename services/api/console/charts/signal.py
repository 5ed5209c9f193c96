"""Which chart a signal gets: the form that its measure asks for, else its number beside what it is compared to."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Final

from markupsafe import Markup
from msgspec import Struct

from services.api.console.charts import burst as bursts
from services.api.console.charts import gap as gaps
from services.api.console.charts import ladder as ladders
from services.api.console.charts import usage as usages
from services.api.console.charts.bullet import bullet
from services.api.console.charts.burst import Moment
from services.api.console.charts.evidence import Change, Proof, changes_of, lines_of, proofs_of, thresholds_for
from services.api.console.charts.svg import Drawing, Table, figure, joined
from services.api.console.charts.usage import Event, Held, Span, Usage
from services.api.console.charts.words import day, measure, said

__all__ = ["Held", "Moment", "SignalFacts", "chart_input", "signal_chart", "usage_of"]

MOST_BULLETS: Final = 3
MOST_EVENTS: Final = 4
LEAST_WINDOW_D: Final = 7
SERIES: Final = {"usage": "usage", "core_usage": "core"}
"""Measures that count uses by day, and the series that they count."""
BEFORE: Final = {
    "usage.decline": 0,
    "usage.post_onboarding_slack": 0,
    "expansion.growth": 0,
    "usage.core_erosion": 22 * 7,
    "critical.usage_and_survey": 22 * 7,
}
"""Signals whose baseline is the 28 days that end so many days before the window with which they were raised."""
BASELINE_D: Final = 28
SILENT: Final = re.compile(r"days_(since|without|unanswered|unpaid)")
FADES: Final = re.compile(r"days_since_(moved|unsubscribed|announced|review_missed)$")
"""Measures whose threshold is how long the fact counts."""
BESIDE: Final = {
    "adoption.shelfware": "licences",
    "expansion.seats": "licences",
    "expansion.overage": "licences",
    "onboarding.value_not_reached": "whole term",
    "survey.below_average": "portfolio",
    "growth.gap": "its segment",
}
"""What the baseline is, where it is no earlier value of the same."""
TICKETS: Final = frozenset(
    {"tickets_opened", "tickets_on_topic", "feature_and_pricing_requests", "returns", "unanswered_contacts"}
)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9-]+")


class SignalFacts(Struct, kw_only=True):
    """What is recorded beside a signal and goes into its chart; whatever is missing is left out of it.

    `today` is the UTC day of the account's clock; `usage` and `core` are uses by day and `known_since` the account's first
    day; `moments` are the events that a burst counts.
    """

    today: dt.date | None = None
    known_since: dt.date | None = None
    usage: Mapping[dt.date, int] = {}
    core: Mapping[dt.date, int] = {}
    moments: Sequence[Moment] = ()
    held: Sequence[Held] = ()
    revised: Set[dt.date] = frozenset()


def chart_input(signal: str, evidence: object) -> str | None:
    """What of an account's history a signal's chart needs: `usage`, `tickets`, `touchpoints`, or nothing."""
    proofs = proofs_of(evidence)
    if any(one.measure in SERIES for one in proofs) or signal == "usage.silence":
        return "usage"
    if any(one.measure in TICKETS for one in proofs):
        return "touchpoints" if signal.startswith("relationship.") else "tickets"
    return None


def signal_chart(
    signal: Mapping[str, Any],
    transitions: Iterable[object] = (),
    entry: Mapping[str, Any] | None = None,
    facts: SignalFacts | None = None,
    *,
    caption: bool = True,
) -> Markup:
    """The chart of one signal as a figure, or nothing where its evidence has nothing to draw.

    `signal` is an answer's `Signal` (`services.api.answers.signal_item`), `transitions` those of its episode as published,
    `entry` its catalogue entry. Numbers are those of the evidence. It never raises: evidence that is out of the ordinary
    is drawn as plain numbers, or not at all.
    """
    found = facts or SignalFacts()
    name = str(signal.get("signal", ""))
    proofs = proofs_of(signal.get("evidence"))
    changes = changes_of(transitions)
    key = "chart-" + _UNSAFE.sub("-", str(signal.get("episode_id", name)))
    thresholds = _thresholds(signal, entry)
    main = _main(name, key, proofs, changes, thresholds, found)
    rest = [] if main is None else main[1]
    plain = [one for one in (proofs if main is None else rest) if not FADES.match(one.measure)]
    bullets = [bullet(one, lines_of(one, thresholds), BESIDE.get(name, "baseline")) for one in plain]
    drawings = [pair for pair in bullets if pair][:MOST_BULLETS]
    if main is not None:
        drawings.insert(0, main[0])
    if not drawings:
        return Markup("")
    title = str((entry or {}).get("title") or name)
    reason = str(signal.get("reason", ""))
    shown = [_stacked([pair[n] for pair in drawings]) for n in (0, 1)]
    return figure(key, title, reason, shown, _table(proofs), caption=reason if caption else None)


def usage_of(signal: str, evidence: object, transitions: Iterable[object], facts: SignalFacts) -> Usage | None:
    """The usage chart's input for a signal that counts uses; None for any other, or where no day is known."""
    proofs = proofs_of(evidence)
    return _usage(signal, proofs, changes_of(transitions), facts)


def _main(
    name: str,
    key: str,
    proofs: list[Proof],
    changes: list[Change],
    thresholds: Mapping[str, Any],
    facts: SignalFacts,
) -> tuple[list[Drawing], list[Proof]] | None:
    """The drawings of the form that the measure asks for, and the numbers to draw plainly beside it."""
    if not proofs:
        return None
    first, others = proofs[0], proofs[1:]
    counted = _usage(name, proofs, changes, facts)
    if counted is not None:
        return usages.drawn(key, counted), [one for one in proofs if one.threshold is not None]
    if "steps" in thresholds and first.measure == "days_overdue":
        drawings = ladders.ladder(first, thresholds["steps"])
    elif SILENT.match(first.measure) and first.unit == "days":
        drawings = gaps.gap(
            key, first, facts.usage if "usage" in first.measure else {}, fades=bool(FADES.match(first.measure))
        )
    elif first.measure in TICKETS:
        drawings = bursts.burst(first, facts.moments)
    else:
        return None
    return (drawings, [one for one in others if one.threshold is not None]) if drawings else None


def _usage(name: str, proofs: list[Proof], changes: list[Change], facts: SignalFacts) -> Usage | None:
    proof = next((one for one in proofs if one.measure in SERIES and one.window_days >= LEAST_WINDOW_D), None)
    if proof is None or proof.start is None or proof.end is None or proof.value is None or facts.today is None:
        return None
    if SILENT.match(proofs[0].measure) and name != "critical.usage_and_survey":
        return None
    by_day = facts.core if SERIES[proof.measure] == "core" else facts.usage
    if not by_day:
        return None
    baseline, mean = None, None
    raised = next((one for change in changes[:1] for one in change.proofs if one.measure == proof.measure), proof)
    if name in BEFORE and proof.baseline is not None and raised.start is not None:
        until = raised.start.date() - dt.timedelta(days=BEFORE[name])
        baseline = Span(until - dt.timedelta(days=BASELINE_D), until, proof.baseline)
        mean = baseline.a_day
    window = Span(proof.start.date(), proof.end.date(), proof.value)
    today = max(facts.today, window.until - dt.timedelta(days=1))
    first = min(today - dt.timedelta(days=usages.SHOWN_DAYS - 1), window.first)
    if baseline is not None:
        first = min(first, baseline.first)
    if facts.known_since is not None:
        first = min(max(first, facts.known_since), window.first)
    return Usage(
        by_day=by_day,
        first=first,
        today=today,
        unit="core uses" if SERIES[proof.measure] == "core" else "uses",
        window=window,
        baseline=baseline,
        baseline_a_day=mean,
        events=_events(changes, today),
        held=facts.held,
        revised=facts.revised,
    )


def _events(changes: list[Change], today: dt.date) -> list[Event]:
    """Changes as marks over their days: once each, and the last ones where there are many."""
    marks = {(change.at.date(), _told(change)): None for change in changes if change.at.date() <= today}
    return [Event(*mark) for mark in list(marks)[-MOST_EVENTS:]]


def _told(change: Change) -> str:
    on = day(change.at.date())[:-5]
    return {"raised": f"opened {on}", "escalated": f"{change.severity} {on}", "cleared": f"cleared {on}"}.get(
        change.what, f"{change.what} {on}"
    )


def _thresholds(signal: Mapping[str, Any], entry: Mapping[str, Any] | None) -> dict[str, Any]:
    """The numbers in force, where the signal was raised by the version that they are of."""
    if entry is None or entry.get("version") != signal.get("version"):
        return {}
    account = signal.get("account")
    return thresholds_for(entry, account.get("tier") if isinstance(account, Mapping) else None)


def _stacked(drawings: list[Drawing]) -> Drawing:
    """Drawings of one width under each other, as one."""
    if len(drawings) == 1:
        return drawings[0]
    parts, y = [], 0.0
    for one in drawings:
        parts.append(_moved(one.content, y))
        y += one.height + 14
    return Drawing(drawings[0].width, y - 14, joined(parts), readable=any(one.readable for one in drawings))


def _moved(content: Markup, y: float) -> Markup:
    return Markup('<g transform="translate(0 {})">{}</g>').format(f"{y:g}", content)


def _table(proofs: Sequence[Proof]) -> Table:
    columns = ("Measure", "Now", "Baseline", "Raises at", "Unit", "Window (UTC)")
    rows = [
        (
            measure(one.measure),
            said(one.said),
            said(one.said_baseline),
            said(one.said_threshold),
            one.unit,
            _window(one),
        )
        for one in proofs
    ]
    return Table(columns, rows)


def _window(proof: Proof) -> str:
    if proof.start is None or proof.end is None:
        return "–"
    if proof.start == proof.end:
        return f"{day(proof.start.date())} {proof.start:%H:%M}"
    whole = proof.start.time() == proof.end.time() == dt.time()
    if whole:
        last = (proof.end - dt.timedelta(days=1)).date()
        return f"{day(proof.start.date())} to {day(last)}" if last > proof.start.date() else day(last)
    return f"{day(proof.start.date())} {proof.start:%H:%M} to {day(proof.end.date())} {proof.end:%H:%M}"
