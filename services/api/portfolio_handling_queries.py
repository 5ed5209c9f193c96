"""SQL of what people did with signals in a period: how many, how soon, and how it ended.

Hours count from when a signal was recorded, which is when somebody could see it: a replayed history opened long before.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.lifecycle import OUTCOMES
from schemas.signals import PORTFOLIO_ACCOUNT
from services.api.portfolio_queries import Asked, named, stood, values
from services.api.portfolio_report_queries import read_rows

PEOPLE_SHOWN: Final = 200


class Handled(Struct):
    """Signals of one kind, or of one person, that were first taken up or closed in the period; hours are means."""

    name: str | None
    acknowledged: int
    closed: int
    hours_to_acknowledge: float | None
    hours_to_resolve: float | None
    saved: int
    saved_by_concession: int
    churned: int
    false_alarm: int
    no_action: int

    @property
    def outcomes(self) -> dict[str, int]:
        """How many were closed with each outcome."""
        return {outcome: getattr(self, outcome) for outcome in OUTCOMES}

    @property
    def precision(self) -> float | None:
        """Share of the closed that were no false alarm; None where nothing was closed."""
        return None if not self.closed else 1 - self.false_alarm / self.closed


def _hours(until: str) -> str:
    return f"avg(date_part('epoch', h.{until} - x.recorded_at) / 3600)"


def _within(column: str) -> str:
    return f"h.{column} >= :start AND h.{column} < :end"


def _statement(asked: Asked, name: str) -> str:
    taken, closed = _within("first_acknowledged_at"), _within("closed_at")
    outcomes = ", ".join(f"count(*) FILTER (WHERE {closed} AND h.outcome = '{each}') AS {each}" for each in OUTCOMES)
    return f"""
        WITH j AS ({named(None, f"({stood(asked, None)})")})
        SELECT {name} AS name,
          count(*) FILTER (WHERE {taken}) AS acknowledged, count(*) FILTER (WHERE {closed}) AS closed,
          {_hours("first_acknowledged_at")} FILTER (WHERE {taken}) AS hours_to_acknowledge,
          {_hours("closed_at")} FILTER (WHERE {closed}) AS hours_to_resolve, {outcomes}
        FROM handlings h JOIN episodes x ON x.episode_id = h.episode_id
        {"JOIN j ON j.account_id = x.account_id" if asked.where else ""}
        WHERE ({taken} OR {closed}) AND x.account_id <> '{PORTFOLIO_ACCOUNT}'
        GROUP BY 1 ORDER BY count(*) DESC, 1
    """


async def by_signal(connection: AsyncConnection, asked: Asked) -> dict[str, Handled]:
    """What was done with the signals of each kind."""
    found = await read_rows(connection, Handled, _statement(asked, "x.signal"), values(asked))
    return {entry.name: entry for entry in found if entry.name is not None}


async def by_person(connection: AsyncConnection, asked: Asked) -> list[Handled]:
    """What was done with the signals of each person, those with most first: the assignee's, else the account's CSM's."""
    statement = _statement(asked, "coalesce(h.assignee, x.csm)")
    return await read_rows(connection, Handled, f"{statement} LIMIT {PEOPLE_SHOWN}", values(asked))
