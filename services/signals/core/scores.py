"""The health score as days ended: change points, so that a score that rests costs nothing."""

from __future__ import annotations

from msgspec import Struct

KEPT_DAYS = 400


class Scores(Struct, array_like=True):
    """(day, score as that day ended), by day; a score holds until the next entry. -1 is no score."""

    points: list[tuple[int, float]] = []

    def at(self, day: int) -> float:
        """The score as a day ended, -1 where none was known."""
        found = -1.0
        for since, score in self.points:
            if since > day:
                break
            found = score
        return found

    def settle(self, day: int, score: float) -> bool:
        """Note the score as a day ended. True when it is another than before."""
        points = self.points
        if points and points[-1][0] >= day:
            return False
        if points and points[-1][1] == score:
            return False
        points.append((day, score))
        while len(points) > 1 and points[1][0] <= day - KEPT_DAYS:
            del points[0]
        return True
