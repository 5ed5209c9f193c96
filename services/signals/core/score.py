"""The health score: ten components, their weights, what each rests on, and what would change it. Pure, 0 to 100.

A component without data is missing: its weight is shared out over the others, and `coverage` is the share of the weights
that rests on data. Contributions sum to the score, in tenths of a point. Source: Customer Success (Mehta, Steinman,
Murphy), law 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from services.signals.core.days import NEVER
from services.signals.core.state import Account

WEIGHTS: Final = {
    "adoption": 35.0,
    "support": 15.0,
    "payment": 15.0,
    "survey": 10.0,
    "contract_growth": 10.0,
    "self_sufficiency": 5.0,
    "executive_relationship": 5.0,
    "marketing_engagement": 3.0,
    "advocacy": 1.0,
    "community": 1.0,
}
"""Default weights of every tier. They sum to 100."""

BANDS: Final = (("thriving", 85.0), ("healthy", 70.0), ("watch", 40.0), ("critical", 0.0))
"""Bands and the score from which each begins, best first."""
BAND_RANK: Final = {name: len(BANDS) - place for place, (name, _) in enumerate(BANDS)}
SLACK: Final = 2.0
"""A band is left downwards only this far below where it begins, so that a score on the edge does not flicker."""


class Part(Struct, frozen=True, gc=False):
    """What one component comes to: a score, or None where nothing is known, and until when (µs) it rests by itself.

    `basis` is what the score was taken from, where working that out is dear and the words say it too.
    """

    score: float | None
    rests_until: int = NEVER
    basis: float | None = None


MISSING: Final = Part(None)


class Words(Struct, frozen=True, gc=False):
    """A component in words: why it is so, what to do, and what one change would make of it."""

    why: str
    action: str
    change: str = ""
    changed: float = 0.0


Value = Callable[[Account, int], Part]
Speak = Callable[[Account, int, Part], Words]


class Component(Struct, frozen=True):
    """One of the ten: its value at an instant, its words about the value that holds, and the facts whose change may change it.

    `unknown` is what is said where nothing is known, if that is always the same: `words` are then not asked for.
    """

    name: str
    reads: int
    value: Value
    words: Speak
    unknown: Words | None = None


class Score(Struct, frozen=True):
    """A whole score at an instant. `tenths` is the score in tenths of a point, -1 where nothing is known."""

    tenths: int
    coverage: float
    rests_until: int
    parts: tuple[float | None, ...]

    @property
    def points(self) -> float:
        """The score, -1 where nothing is known."""
        return self.tenths / 10 if self.tenths >= 0 else -1.0


def check_weights(weights: Mapping[str, float]) -> str | None:
    """What is wrong with weights, or None. They name the ten components, are not negative and sum to 100."""
    unknown = sorted(set(weights) - set(WEIGHTS))
    if unknown:
        return f"{unknown[0]}: no such component; the ten are {', '.join(WEIGHTS)}"
    missing = sorted(set(WEIGHTS) - set(weights))
    if missing:
        return f"{missing[0]}: is missing; give all ten, 0 leaves one out"
    negative = [name for name, weight in weights.items() if weight < 0]
    if negative:
        return f"{negative[0]}: is negative"
    total = sum(weights.values())
    return None if abs(total - 100) < 1e-9 else f"they sum to {total:g} and must sum to 100"


def combine(parts: Sequence[float | None], weights: Sequence[float]) -> tuple[int, float]:
    """The score in tenths of a point (-1 for none) and the coverage, from component scores in order of the weights."""
    known = total = 0.0
    for part, weight in zip(parts, weights, strict=True):
        if part is not None:
            known += weight
            total += weight * part
    if not known:
        return -1, 0.0
    return round(10 * total / known), known / sum(weights)


def contributions(parts: Sequence[float | None], weights: Sequence[float], tenths: int) -> list[int]:
    """Each component's share of the score, in tenths of a point; they sum to it exactly (largest remainders)."""
    known = sum([weight for part, weight in zip(parts, weights, strict=True) if part is not None])
    if not known:
        return [0] * len(parts)
    exact = [0.0 if part is None else 10 * part * weight / known for part, weight in zip(parts, weights, strict=True)]
    floors = [int(share) for share in exact]
    over = tenths - sum(floors)
    if over > 0:
        rests = [(floors[place] - exact[place], place) for place, part in enumerate(parts) if part is not None]
        for _, place in sorted(rests)[:over]:
            floors[place] += 1
    return floors


def band_of(points: float, before: str = "") -> str:
    """The band of a score, given the band that it was in: downwards a band is left only past its slack."""
    for plain, begins in BANDS:  # noqa: B007  # the last one begins at 0
        if points >= begins:
            break
    if before and BAND_RANK[plain] < BAND_RANK[before]:
        held = next((name for name, begins in BANDS if points >= begins - SLACK), plain)
        return held if BAND_RANK[held] <= BAND_RANK[before] else before
    return plain


def score(account: Account, now: int, components: Sequence[Component], weights: Sequence[float]) -> Score:
    """The score of an account at an instant (µs), and until when it rests if nothing happens.

    What the account remembers of its components is used as long as it holds.
    """
    changed, parts = account.unscored, account.parts
    if not parts:
        parts = account.parts = [MISSING] * len(components)
        changed = -1
    account.unscored = 0
    rests = min([part.rests_until for part in parts])
    if changed or now >= rests:
        for place, component in enumerate(components):
            if component.reads & changed or now >= parts[place].rests_until:
                parts[place] = component.value(account, now)
        rests = min([part.rests_until for part in parts])
    values = tuple([part.score for part in parts])
    tenths, coverage = combine(values, weights)
    return Score(tenths, coverage, rests, values)
