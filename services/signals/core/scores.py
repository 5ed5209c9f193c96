"""The health score of the last days as they ended, three bytes a day, so that it fits the account's own record."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from services.signals.core.state import Hot

KEPT_DAYS: Final = 32
KEPT_UNTOLD: Final = 400
"""Days that are kept until a health record has told them: in a backlog months may pass between two records."""
_DAY: Final = struct.Struct(">HB")
_NOTHING: Final = 0xFFFF


class DayScore(Struct, frozen=True, gc=False):
    """The score as a day ended, -1 where nothing was known, and its coverage."""

    day: int
    points: float
    coverage: float


def settle(hot: Hot, until: int) -> None:
    """The days up to `until` have ended with the score as it stands."""
    before = hot.scores_until
    if until <= before:
        return
    days = min(until - before, KEPT_UNTOLD) if before >= 0 else 1
    kept = min(max(KEPT_DAYS, until - hot.scores_told), KEPT_UNTOLD)
    tenths = _NOTHING if hot.score < 0 else round(10 * hot.score)
    entry = _DAY.pack(tenths, round(100 * hot.coverage))
    hot.scores = (hot.scores + entry * days)[-kept * _DAY.size :]
    hot.scores_until = until


def ended(hot: Hot, first: int, last: int) -> list[DayScore]:
    """The days from `first` to `last` that are held, by day. Days since the last one that was settled rest on its score."""
    until = hot.scores_until
    if until < 0:
        return []
    oldest = until - len(hot.scores) // _DAY.size + 1
    begin, end = max(first, oldest), min(last, until)
    held = hot.scores[(begin - oldest) * _DAY.size : (end + 1 - oldest) * _DAY.size] if begin <= end else b""
    found = [
        DayScore(day, -1.0 if tenths == _NOTHING else tenths / 10, percent / 100)
        for day, (tenths, percent) in enumerate(_DAY.iter_unpack(held), begin)
    ]
    if last > until:
        found += [DayScore(day, hot.score, hot.coverage) for day in range(max(first, until + 1), last + 1)]
    return found


def on(hot: Hot, day: int) -> float:
    """The score as a day ended, -1 where none is held."""
    until = hot.scores_until
    if day > until >= 0:
        return hot.score
    at = len(hot.scores) - (until - day + 1) * _DAY.size
    if until < 0 or at < 0:
        return -1.0
    tenths, _ = _DAY.unpack_from(hot.scores, at)
    return -1.0 if tenths == _NOTHING else tenths / 10
