"""How a place in the queue is shown: the rank with each of its parts, in numbers and in words. Pure.

The judgement itself is `schemas.priority`, which the recorder ranks by; what is shown here is the same calculation.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from schemas import priority
from schemas.priority import Judged, Part, Situation
from services.api.queries import AccountRecord, SignalRecord


def parts(account: AccountRecord | None, signal: SignalRecord, open_signals: Iterable[Judged]) -> list[Part]:
    """Every part of a signal's rank, beside what else is open."""
    row = signal.episode
    judged = Judged(signal=row.signal, kind=row.kind, severity=row.severity, scope=row.scope)
    families = priority.families_open(open_signals).get(row.kind, 0)
    return priority.parts_of(*_known(account), judged, families)


def weight(account: AccountRecord | None) -> list[Part]:
    """The parts that belong to the account, on the day that its health record is of."""
    return priority.weight_of(*_known(account))


def _known(account: AccountRecord | None) -> tuple[Situation, dt.date]:
    """What is known, and on which day; of an account without a health record nothing is, on whichever day."""
    if account is None:
        return Situation(), dt.date.min
    profile: Mapping[str, Any] = msgspec.json.decode(account.health.profile)
    return priority.situation(profile, account.health.first_event_at), account.health.as_of.date()
