"""Troubles that ended: severe or escalated tickets that were solved, and critical risks that cleared. Bounded."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from services.signals.core.days import DAY_US

KEPT_DAYS: Final = 84
MAX_TROUBLES: Final = 20


class Trouble(Struct, array_like=True):
    """When a trouble began and ended (µs)."""

    began: int
    ended: int


def remember(troubles: dict[str, Trouble], name: str, trouble: Trouble, clock: int) -> dict[str, Trouble]:
    """The latest few troubles of the last weeks, with this one."""
    since = clock - KEPT_DAYS * DAY_US
    kept = {known: entry for known, entry in {**troubles, name: trouble}.items() if entry.ended > since}
    for oldest in sorted(kept, key=lambda known: (kept[known].ended, known))[:-MAX_TROUBLES]:
        del kept[oldest]
    return kept


def latest(troubles: dict[str, Trouble]) -> str:
    """The trouble that ended last, "" for none."""
    return max(troubles, key=lambda name: (troubles[name].ended, name), default="")
