"""How a signal stands: a pure function of what the engine says and of what people said.

The engine's facts are whether the episode is cleared and the ordinal of its last transition. People's are the handling.
What somebody said of an episode holds until its next transition: an escalation shows it again, whatever was said before.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final, Literal, get_args

Status = Literal["open", "acknowledged", "snoozed", "closed", "cleared"]
ActName = Literal["acknowledge", "snooze", "assign", "close", "comment", "undo"]
Outcome = Literal["saved", "saved_by_concession", "churned", "false_alarm", "no_action"]
ChurnReason = Literal[
    "no_roi",
    "stalled_implementation",
    "sponsor_change",
    "low_adoption",
    "acquired",
    "missing_feature",
    "new_leadership",
    "quality",
    "wrong_fit",
    "human_factor",
    "bankruptcy",
]
Cause = Literal["sales", "onboarding", "training", "support", "product"]

STATUSES: Final[tuple[Status, ...]] = get_args(Status)
ACTS: Final[tuple[ActName, ...]] = get_args(ActName)
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
CHURN_REASONS: Final[tuple[ChurnReason, ...]] = get_args(ChurnReason)
CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)

UNAVOIDABLE: Final[frozenset[ChurnReason]] = frozenset({"acquired", "bankruptcy"})
"""Churn that success management could not have prevented, unless whoever closes the signal says otherwise."""

EVENT_TYPES: Final[dict[ActName, str]] = {
    "acknowledge": "signal.acknowledged",
    "snooze": "signal.snoozed",
    "assign": "signal.assigned",
    "close": "signal.closed",
    "comment": "signal.commented",
    "undo": "signal.undone",
}
"""What an act is called in the feed, and so in webhooks and streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """What the acts on one episode come to. Times are in UTC; actors are user ids, or `key:NAME`.

    `version` is how many acts there are. Each `*_ordinal` is the episode's last transition when that was said.
    `first_acknowledged_at` is when somebody first acknowledged, snoozed or closed it; it stays when that is taken back.
    """

    version: int = 0
    acknowledged_at: dt.datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_ordinal: int | None = None
    snoozed_at: dt.datetime | None = None
    snoozed_by: str | None = None
    snoozed_until: dt.datetime | None = None
    snooze_reason: str | None = None
    snoozed_ordinal: int | None = None
    assignee: str | None = None
    pool: str | None = None
    closed_at: dt.datetime | None = None
    closed_by: str | None = None
    closed_ordinal: int | None = None
    outcome: Outcome | None = None
    churn_reason: ChurnReason | None = None
    avoidable: bool | None = None
    cause: Cause | None = None
    first_acknowledged_at: dt.datetime | None = None


UNHANDLED: Final = Handling()
"""Nobody has done anything."""


def _holds(said_at: int | None, ordinal: int) -> bool:
    return said_at is not None and said_at >= ordinal


def shown(*, cleared: bool, ordinal: int, handling: Handling, now: dt.datetime) -> Status:
    """The status that people see. `ordinal` is that of the episode's last transition.

    `schemas.db.lifecycle.shown` is the same in SQL. "Saved by a concession" shows as acknowledged: the risk is still
    there (Customer Success (Mehta, Steinman, Murphy), laws 1 and 2). It can be snoozed after that, like any other.
    """
    if cleared:
        return "cleared"
    closed = _holds(handling.closed_ordinal, ordinal)
    if closed and handling.outcome != "saved_by_concession":
        return "closed"
    if (
        _holds(handling.snoozed_ordinal, ordinal)
        and handling.snoozed_until is not None
        and handling.snoozed_until > now
    ):
        return "snoozed"
    if closed or _holds(handling.acknowledged_ordinal, ordinal):
        return "acknowledged"
    return "open"
