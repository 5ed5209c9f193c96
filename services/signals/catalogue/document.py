"""The catalogue as a page for people: `docs/signals.md`, written from the entries and never by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.signals.core.score import BANDS, SLACK, WEIGHTS
from services.signals.core.signal import Signal

NOT_LIVE: Final[dict[str, str]] = {
    "a limit of the plan passed (expansion.overage)": "No event carries a plan's limits. A measure and a signal of one's own "
    "do it: count what is limited, and raise at the limit.",
    "acquired by a user of a rival (relationship.evaluation)": "No event says so; `evaluation.announced` with the rival does.",
    "use by executives (health, adoption)": "Contacts and users need not have the same ids; executives are seen through "
    "contacts held with them.",
    "questions asked against answered (health, community)": "`community.active` says that somebody took part, not how; it is "
    "counted.",
    "messages per user and week": "Reminders are for the team, not sent to users; of CSAT reminders one is open at a time.",
    "the champion's new company (advocacy.champion_moved)": "Only the account that was left is seen; whether the other "
    "company is a customer is for people to look up.",
    "a quote was sent (lifecycle.renewal_notice)": "No event says so; the reminder ends with the renewal.",
}
"""What the source texts ask for and no entry judges, and why."""


def _thresholds(signal: Signal) -> list[str]:
    return [
        f"- Thresholds, {tier}: " + ", ".join(f"`{name}` {value}" for name, value in values.items())
        for tier, values in signal.thresholds.items()
        if values
    ]


def _held(signal: Signal) -> list[str]:
    lines = []
    if signal.held_by:
        window = f"the threshold `{signal.hole_days}`" if isinstance(signal.hole_days, str) else f"{signal.hole_days}"
        after = f", and for {window} days after" if signal.hole_days else ""
        lines.append(f"- Held while a source that feeds the account's {' or '.join(signal.held_by)} is stale{after}.")
    if signal.explained is not None:
        lines.append("- Held back where what the whole portfolio did explains it.")
    return lines


def _entry(signal: Signal) -> list[str]:
    needs = ", ".join(f"`{name}`" for name in signal.needs)
    return [
        f"### {signal.id}",
        "",
        f"*{signal.title}.* {signal.meaning}",
        "",
        f"- {signal.kind.capitalize()} of the {signal.scope}; {signal.severity}; {'pages' if signal.pages else 'never pages'}.",
        f"- Next step ({signal.action.owner}): {signal.action.title}.",
        f"- Fed by {', '.join(f'`{name}`' for name in signal.inputs)}."
        + (f" Starved without {needs}." if needs else "")
        + (f" Warming for {signal.warming_days} days." if signal.warming_days else ""),
        *_held(signal),
        *_thresholds(signal),
        f"- Source: {signal.source}. Version {signal.version}.",
        "",
    ]


def page(signals: Iterable[Signal]) -> str:
    """The whole page."""
    families: dict[str, list[Signal]] = {}
    for signal in sorted(signals, key=lambda signal: signal.id):
        families.setdefault(signal.family, []).append(signal)
    count = sum(map(len, families.values()))
    lines = [
        "# Signals",
        "",
        "Written by `ebbtide catalogue check --write` from the files of `services/signals/catalogue`; do not edit.",
        "",
        f"{count} signals. A trailing window is (T − N × 24 h, T]; complete days exclude today; days are UTC days.",
        "",
        "| signal | what | severity | pages | next step |",
        "|---|---|---|---|---|",
    ]
    for family in sorted(families):
        lines += [
            f"| [{s.id}](#{s.id.replace('.', '')}) | {s.title} | {s.severity} "
            f"| {'yes' if s.pages else 'no'} | {s.action.owner} |"
            for s in families[family]
        ]
    lines += ["", "## Health", ""]
    lines += [
        "Ten components, default weights: " + ", ".join(f"{name} {weight:g}" for name, weight in WEIGHTS.items()) + ".",
        "A component without data is missing: its weight is shared out over the others, and `coverage` says how much of "
        "the weights rests on data. Contributions sum to the score.",
        "Bands: "
        + ", ".join(f"{name} from {begins:g}" for name, begins in BANDS)
        + f"; a band is left downwards {SLACK:g} points below where it begins.",
        "",
    ]
    for family in sorted(families):
        lines += [f"## {family.capitalize()}", ""]
        for signal in families[family]:
            lines += _entry(signal)
    if NOT_LIVE:
        lines += ["## What is not judged", "", "| asked for | why it is not |", "|---|---|"]
        lines += [f"| {name} | {why} |" for name, why in sorted(NOT_LIVE.items())]
    return "\n".join(lines).rstrip() + "\n"
