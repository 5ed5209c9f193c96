"""The status that people see, in SQL: the one place for lists, counts and filters. `schemas.lifecycle` says the same."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_

from schemas.db.people import Handling
from schemas.db.tables import Episode


def shown(now: ColumnElement[Any]) -> ColumnElement[str]:
    """Status of an episode that is outer-joined with its handling by `episode_id`. `now`: `func.now()` or a literal."""
    ordinal = Episode.last_ordinal
    closed = Handling.closed_ordinal >= ordinal
    return case(
        (Episode.cleared_at.is_not(None), "cleared"),
        (and_(closed, Handling.outcome != "saved_by_concession"), "closed"),
        (and_(Handling.snoozed_ordinal >= ordinal, Handling.snoozed_until > now), "snoozed"),
        (or_(closed, Handling.acknowledged_ordinal >= ordinal), "acknowledged"),
        else_="open",
    )
