"""One customer success manager's accounts beside those of the rest of the team."""

from __future__ import annotations

from msgspec import Struct

PLACES = 1


class Scores(Struct, frozen=True):
    """Mean score of a set of accounts, and that of each component, 0-100. None where nothing is scored."""

    score: float | None
    components: dict[str, float | None]


class ComponentGap(Struct, frozen=True):
    """A component's mean score here and in the rest of the team; `gap` is negative where this one is behind."""

    name: str
    score: float
    team: float
    gap: float


class Comparison(Struct, frozen=True):
    """How a manager's accounts stand beside the rest of the team.

    `gap` is in points of health. `dragging_down` is the component furthest behind the team's, None where none is behind.
    """

    score: float | None
    team: float | None
    gap: float | None
    components: list[ComponentGap]
    dragging_down: ComponentGap | None


def compare(own: Scores, rest: Scores) -> Comparison:
    """Put a manager's means beside the team's. Components that one of them does not have are left out."""
    gaps = [
        ComponentGap(name, round(score, PLACES), round(team, PLACES), round(score - team, PLACES))
        for name, score in own.components.items()
        if score is not None and (team := rest.components.get(name)) is not None
    ]
    gaps.sort(key=lambda entry: (entry.gap, entry.name))
    gap = None if own.score is None or rest.score is None else round(own.score - rest.score, PLACES)
    behind = gaps[0] if gaps and gaps[0].gap < 0 else None
    return Comparison(_rounded(own.score), _rounded(rest.score), gap, gaps, behind)


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, PLACES)
