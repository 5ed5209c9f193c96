"""How an invented customer begins: an onboarding that goes as planned or slips, or a pilot that gets nowhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Final

from services.demo.events import Draft

At = Callable[[int, float], dt.datetime]
"""An instant by the day of the simulation and the hour."""
Date = Callable[[int], str]

PILOT_DAYS: Final = 60
EXTENSION_DAYS: Final = 45
HANDOVER: Final = {
    "goal": "plan the month in one place",
    "pain_point": "a dozen spreadsheets that disagree",
    "scope": "one business unit",
    "notes": "the sponsor wants a first result before the quarter ends",
}
GOAL: Final = {"goal": "one plan", "metric": "days per cycle", "baseline": 12, "target": 6}


def onboarding(begins: int, at: At, date: Date, user: str, app: str, crm: str) -> Iterator[Draft]:
    """As planned: the kickoff in the first week, the launch on day 45, value on day 52, the goal by half a year."""

    def said(day: int, hour: float, what: str, /, **data: object) -> Draft:
        return Draft(at(begins + day, hour), f"account.{what}", data, crm)

    yield said(0, 0.4, "updated", handover=HANDOVER)
    for step, due, kind in (("kickoff", 4, "kickoff"), ("data connected", 21, "onboarding"), ("launch", 45, "launch")):
        yield said(0, 0.5, "milestone_planned", milestone=step, due=date(begins + due), kind=kind)
        yield said(due, 15, "milestone_done", milestone=step, kind=kind)
    yield said(4, 14, "goal_set", **GOAL, due=date(begins + 180))
    for day, value in ((52, 10), (100, 8), (150, 7)):
        yield said(day, 15, "goal_measured", goal=GOAL["goal"], value=value)
    yield Draft(at(begins + 52, 16), "usage.value_reached", {"goal": "first plan", "user": user}, app)
    yield said(170, 15, "goal_achieved", goal=GOAL["goal"], value=6)
    survey = {"survey_id": "onboarding", "kind": "onboarding", "user": user}
    yield Draft(at(begins + 46, 9), "survey.sent", survey, crm)
    yield Draft(at(begins + 47, 14), "survey.answered", survey | {"score": 5}, crm)


def late_onboarding(begins: int, at: At, date: Date, user: str, app: str, crm: str) -> Iterator[Draft]:
    """Half of the handover, a kickoff put off, a goal agreed late, a promise moved, a launch after eleven weeks."""

    def said(day: int, hour: float, what: str, /, **data: object) -> Draft:
        return Draft(at(begins + day, hour), f"account.{what}", data, crm)

    yield said(0, 0.4, "updated", handover={"goal": HANDOVER["goal"], "scope": HANDOVER["scope"]})
    yield said(0, 0.5, "milestone_planned", milestone="kickoff", due=date(begins + 4), kind="kickoff")
    yield said(3, 9, "milestone_planned", milestone="kickoff", due=date(begins + 20), kind="kickoff")
    yield said(20, 15, "milestone_done", milestone="kickoff", kind="kickoff")
    for step, due, done, kind in (("data connected", 35, 60, "onboarding"), ("launch", 70, 77, "launch")):
        yield said(20, 16, "milestone_planned", milestone=step, due=date(begins + due), kind=kind)
        yield said(done, 15, "milestone_done", milestone=step, kind=kind)
    yield said(31, 14, "goal_set", **GOAL, due=date(begins + 150))
    yield said(20, 16.5, "commitment_made", commitment="import of the history", due=date(begins + 40))
    yield said(38, 10, "commitment_made", commitment="import of the history", due=date(begins + 55))
    yield said(54, 10, "commitment_kept", commitment="import of the history")
    yield said(85, 15, "goal_measured", goal=GOAL["goal"], value=12)
    yield Draft(at(begins + 110, 16), "usage.value_reached", {"goal": "first plan", "user": user}, app)
    yield said(125, 15, "goal_measured", goal=GOAL["goal"], value=7)
    yield said(145, 15, "goal_achieved", goal=GOAL["goal"], value=6)
    survey = {"survey_id": "onboarding", "kind": "onboarding", "user": user}
    yield Draft(at(begins + 78, 9), "survey.sent", survey, crm)
    yield Draft(at(begins + 82, 14), "survey.answered", survey | {"score": 4}, crm)


def pilot(begins: int, at: At, date: Date, crm: str) -> Iterator[Draft]:
    """A free pilot with one champion and no budget, put off when it was to end."""
    readiness = {"budget": False, "owner": "the champion", "process": None, "kpi": "days per cycle"}

    def said(day: int, hour: float, end: int) -> Draft:
        data = {"start": date(begins), "end": date(begins + end), "paid": False, "readiness": readiness}
        return Draft(at(begins + day, hour), "account.updated", {"stage": "pilot", "pilot": data}, crm)

    yield said(0, 0.4, PILOT_DAYS)
    yield said(PILOT_DAYS - 2, 10, PILOT_DAYS + EXTENSION_DAYS)
