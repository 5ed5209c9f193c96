"""Labels of marks along a line: on rows so that no text lies on another, and no leader runs through a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from markupsafe import Markup
from msgspec import Struct

from services.api.console.charts.svg import TEXT, joined, line, text, width_of

ROW: Final = TEXT + 4.0
GAP: Final = 8.0
_CLEAR: Final = 3.0
_MOST_TRIED: Final = 7


class Mark(Struct, frozen=True):
    """A place along the line, and what is said of it."""

    x: float
    said: str
    look: str = ""
    bold: bool = False


class Placed(Struct, frozen=True):
    """A mark with the left end of its text and its row, 0 the nearest to the line."""

    mark: Mark
    left: float
    row: int

    @property
    def right(self) -> float:
        """The right end of its text."""
        return self.left + width_of(self.mark.said, bold=self.mark.bold)


def arrange(marks: Sequence[Mark], low: float, high: float) -> list[Placed]:
    """Every mark with its label's place, in the order given, between `low` and `high`, on as few rows as it takes."""
    for rows in range(1, len(marks) + 1):
        if len(marks) > _MOST_TRIED:
            break
        found = _fit([], list(marks), rows, low, high)
        if found is not None:
            return found
    # A row for each, from the line outwards by place: never reached with the few marks that charts have.
    order = {id(mark): n for n, mark in enumerate(sorted(marks, key=lambda m: -m.x))}
    return [Placed(mark, next(_lefts(mark, low, high)), order[id(mark)]) for mark in marks]


def _fit(held: list[Placed], rest: list[Mark], rows: int, low: float, high: float) -> list[Placed] | None:
    if not rest:
        return held
    for row in range(rows):
        for left in _lefts(rest[0], low, high):
            one = Placed(rest[0], left, row)
            if not any(_clash(one, other) or _clash(other, one) for other in held):
                found = _fit([*held, one], rest[1:], rows, low, high)
                if found is not None:
                    return found
    return None


def _lefts(mark: Mark, low: float, high: float) -> Iterator[float]:
    """Where a label may begin: centred on its mark, then to the right of it, then to the left."""
    width = width_of(mark.said, bold=mark.bold)
    for left in (mark.x - width / 2, mark.x - 2, mark.x + 2 - width):
        yield max(low, min(left, high - width))


def _clash(one: Placed, other: Placed) -> bool:
    """Whether two texts lie on each other, or the leader of the first runs through the text of the second."""
    if one.row == other.row:
        return one.left < other.right + GAP and other.left < one.right + GAP
    return one.row > other.row and other.left - _CLEAR < one.mark.x < other.right + _CLEAR


def rows_of(placed: Sequence[Placed]) -> int:
    """How many rows are taken."""
    return max((one.row + 1 for one in placed), default=0)


def above(placed: Sequence[Placed], line_y: float) -> Markup:
    """Labels over a line at `line_y`, with leaders from those that stand further up."""
    parts = []
    for one in placed:
        y = line_y - 5 - one.row * ROW
        if one.row:
            parts.append(line(one.mark.x, y + 3, one.mark.x, line_y, "leader"))
        parts.append(text(one.left, y, one.mark.said, look=one.mark.look))
    return joined(parts)


def below(placed: Sequence[Placed], line_y: float) -> Markup:
    """Labels under a line at `line_y`, with leaders to those that stand further down."""
    parts = []
    for one in placed:
        y = line_y + TEXT + one.row * ROW
        if one.row:
            parts.append(line(one.mark.x, line_y, one.mark.x, y - TEXT + 2, "leader"))
        parts.append(text(one.left, y, one.mark.said, look=one.mark.look))
    return joined(parts)
