"""Random operators' files whose measures count what the random streams of events hold."""

from __future__ import annotations

import random
from typing import Any

MEASURES: dict[str, dict[str, Any]] = {
    "uses": {"event": "usage.feature_used", "sum": "count"},
    "core_calls": {
        "event": "usage.feature_used",
        "where": {"core": True, "environment": ["production", "trial", None]},
    },
    "logins": {"event": "usage.logged_in"},
    "pages": {"event": "usage.page_viewed", "where": {"user": ["u0", "u1", "u2", "n0", "n1"]}},
    "urgent": {"event": "ticket.opened", "where": {"priority": ["P1", "P2"]}},
    "resolved": {"event": "ticket.resolved"},
    "paid": {"event": "invoice.partly_paid", "sum": "amount", "where": {"currency": None}},
    "scores": {"event": "survey.answered", "sum": "score", "where": {"score": {"at_least": 6}}},
    "bad": {"event": "survey.answered", "where": {"score": {"at_most": 6}}},
}
FIELDS: dict[str, list[Any]] = {
    "tier": ["high", "low", "tech"],
    "seats": [4, 5, 8, 10],
    "pricing": ["per_seat", "value"],
}


def random_file(rng: random.Random) -> dict[str, Any]:
    """A file with a few measures and a few signals of every shape."""
    names = rng.sample([name for name in MEASURES if name != "paid"], rng.randint(1, 5))
    measures = [*names, "usage", "core"]
    signals = {f"own.s{n}": _signal(rng, measures) for n in range(rng.randint(3, 8))}
    return {"measures": {name: MEASURES[name] for name in names}, "signals": signals}


def _signal(rng: random.Random, measures: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": rng.choice(["risk", "opportunity"]),
        "title": "A signal",
        "action": "Look at it",
        "owner": "csm",
        "when": _condition(rng, measures, 0),
    }
    if rng.random() < 0.3:
        found["severity"] = rng.choice(["info", "critical"])
    return found


def _condition(rng: random.Random, measures: list[str], depth: int) -> dict[str, Any]:
    if depth < 2 and rng.random() < (0.5 if depth == 0 else 0.2):
        parts = [_condition(rng, measures, depth + 1) for _ in range(rng.randint(1, 3))]
        return {rng.choice(["all_of", "any_of", "any_of"]): parts}
    made = rng.choice([_count, _dropped, _dropped, _silent, _silent, _changed])(rng, rng.choice(measures))
    if rng.random() < 0.4:
        made["severity"] = rng.choice(["info", "warning", "critical"])
    return made


def _per_tier(rng: random.Random, values: list[int]) -> Any:
    if rng.random() < 0.7:
        return rng.choice(values)
    return {"default": rng.choice(values), rng.choice(["high", "low", "tech"]): rng.choice(values)}


def _count(rng: random.Random, measure: str) -> dict[str, Any]:
    least = rng.choice([1, 2, 5, 20])
    found = {"count": measure, "at_least": least, "days": _per_tier(rng, [1, 2, 7, 28, 90])}
    if rng.random() < 0.5:
        found["clear_below"] = rng.randint(1, least)
    return found


def _dropped(rng: random.Random, measure: str) -> dict[str, Any]:
    percent = rng.choice([1, 20, 25, 50, 99, 100])
    found = {
        "dropped": measure,
        "percent": percent,
        "days": _per_tier(rng, [1, 3, 7, 14, 28, 45]),
        "baseline": _per_tier(rng, [1, 2, 10, 20]),
    }
    if rng.random() < 0.5:
        found["clear_percent"] = rng.randrange(percent)
    if rng.random() < 0.4:
        found["new_normal_days"] = rng.choice([1, 5, 14, 30])
    return found


def _silent(rng: random.Random, measure: str) -> dict[str, Any]:
    found = {"silent": measure, "days": _per_tier(rng, [1, 3, 7, 14, 30, 60])}
    if rng.random() < 0.5:
        found["used_days"] = _per_tier(rng, [1, 2, 3, 5])
    return found


def _changed(rng: random.Random, _: str) -> dict[str, Any]:
    field = rng.choice(sorted(FIELDS))
    values = rng.sample(FIELDS[field], 2)
    found: dict[str, Any] = {"changed": field, "to": rng.choice([values[:1], values[0]])}
    if rng.random() < 0.4:
        found["from"] = values[1]
    if rng.random() < 0.5:
        found["days"] = rng.choice([1, 7, 30])
    return found
