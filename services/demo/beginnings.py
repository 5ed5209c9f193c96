"""How an invented customer begins: an onboarding that goes as planned or does not, or a pilot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.demo.customer import APP, CRM, Customer
from services.demo.events import Draft

LAUNCH_DAY: Final = 45
PILOT_DAYS, EXTENSION_DAYS, LEAVES_DAYS = 60, 45, 125
HANDOVER: Final = {
    "goal": "plan the month in one place",
    "pain_point": "a dozen spreadsheets that disagree",
    "scope": "one business unit",
    "notes": "the sponsor wants a first result before the quarter ends",
}
GOAL: Final = {"goal": "one plan", "metric": "days per cycle", "baseline": 12, "target": 6}
NEXT_GOAL: Final = {"goal": "one forecast", "metric": "files per forecast", "baseline": 9, "target": 1}


def beginning(customer: Customer) -> Iterator[Draft]:
    """How a customer that is new in the simulation begins; nothing for one that is there already."""
    if not customer.plan.starts:
        return
    match customer.plan.archetype:
        case "stuck_pilot":
            yield from _stuck_pilot(customer)
        case "hidden_pilot":
            yield from _hidden_pilot(customer)
        case "late_onboarding":
            yield from _late_onboarding(customer)
        case "never_started":
            yield from _put_off(customer)
        case _:
            yield from _onboarding(customer)


def _said(customer: Customer, day: int, hour: float, what: str, /, **data: object) -> Draft:
    """Something said of the account, `day` days after it began."""
    return Draft(customer.at(customer.plan.starts + day, hour), f"account.{what}", data, CRM)


def _surveyed(customer: Customer, sent: int, answered: int, score: int) -> Iterator[Draft]:
    survey = {"survey_id": "onboarding", "kind": "onboarding", "user": customer.user(0)}
    begins = customer.plan.starts
    yield Draft(customer.at(begins + sent, 9), "survey.sent", survey, CRM)
    yield Draft(customer.at(begins + answered, 14), "survey.answered", survey | {"score": score}, CRM)


def _value(customer: Customer, day: int, goal: str) -> Draft:
    at = customer.at(customer.plan.starts + day, 16)
    return Draft(at, "usage.value_reached", {"goal": goal, "user": customer.user(0)}, APP)


def _onboarding(customer: Customer) -> Iterator[Draft]:
    """As planned: the kickoff in the first week, the launch on day 45, value on day 52, the goal by half a year."""
    date = customer.date
    begins = customer.plan.starts
    yield _said(customer, 0, 0.4, "updated", handover=HANDOVER)
    steps = (("kickoff", 4, "kickoff"), ("data connected", 21, "onboarding"), ("launch", LAUNCH_DAY, "launch"))
    for step, due, kind in steps:
        yield _said(customer, 0, 0.5, "milestone_planned", milestone=step, due=date(begins + due), kind=kind)
        yield _said(customer, due, 15, "milestone_done", milestone=step, kind=kind)
    yield _said(customer, 4, 14, "goal_set", **GOAL, due=date(begins + 180))
    for day, value in ((52, 10), (100, 8), (150, 7)):
        yield _said(customer, day, 15, "goal_measured", goal=GOAL["goal"], value=value)
    yield _value(customer, 52, "first plan")
    yield _said(customer, 170, 15, "goal_achieved", goal=GOAL["goal"], value=6)
    yield _said(customer, 178, 15, "goal_set", **NEXT_GOAL, due=date(begins + 400))
    yield _said(customer, 250, 15, "goal_measured", goal=NEXT_GOAL["goal"], value=6)
    yield from _surveyed(customer, LAUNCH_DAY + 1, LAUNCH_DAY + 2, 5)


def _late_onboarding(customer: Customer) -> Iterator[Draft]:
    """Half of the handover, a kickoff put off, a goal agreed late, a promise moved, a launch after eleven weeks."""
    date, begins = customer.date, customer.plan.starts
    yield _said(customer, 0, 0.4, "updated", handover={"goal": HANDOVER["goal"], "scope": HANDOVER["scope"]})
    yield _said(customer, 0, 0.5, "milestone_planned", milestone="kickoff", due=date(begins + 4), kind="kickoff")
    yield _said(customer, 3, 9, "milestone_planned", milestone="kickoff", due=date(begins + 20), kind="kickoff")
    yield _said(customer, 20, 15, "milestone_done", milestone="kickoff", kind="kickoff")
    for step, due, done, kind in (("data connected", 35, 60, "onboarding"), ("launch", 70, 77, "launch")):
        yield _said(customer, 20, 16, "milestone_planned", milestone=step, due=date(begins + due), kind=kind)
        yield _said(customer, done, 15, "milestone_done", milestone=step, kind=kind)
    yield _said(customer, 31, 14, "goal_set", **GOAL, due=date(begins + 150))
    yield _said(customer, 20, 16.5, "commitment_made", commitment="import of the history", due=date(begins + 40))
    yield _said(customer, 38, 10, "commitment_made", commitment="import of the history", due=date(begins + 55))
    yield _said(customer, 54, 10, "commitment_kept", commitment="import of the history")
    yield _said(customer, 85, 15, "goal_measured", goal=GOAL["goal"], value=12)
    yield _value(customer, 110, "first plan")
    yield _said(customer, 125, 15, "goal_measured", goal=GOAL["goal"], value=7)
    yield _said(customer, 145, 15, "goal_achieved", goal=GOAL["goal"], value=6)
    yield from _surveyed(customer, 78, 82, 4)


def _put_off(customer: Customer) -> Iterator[Draft]:
    """Signed, and then nobody has the time: the kickoff's day passes, and it is held two months later."""
    date, begins = customer.date, customer.plan.starts
    yield _said(customer, 0, 0.4, "updated", handover=HANDOVER)
    yield _said(customer, 0, 0.5, "milestone_planned", milestone="kickoff", due=date(begins + 6), kind="kickoff")
    yield _said(customer, 52, 15, "milestone_done", milestone="kickoff", kind="kickoff")
    yield _said(customer, 52, 14, "goal_set", **GOAL, due=date(begins + 240))
    yield _said(customer, 52, 16, "milestone_planned", milestone="launch", due=date(begins + 95), kind="launch")
    yield _said(customer, 95, 15, "milestone_done", milestone="launch", kind="launch")
    yield _value(customer, 110, "first plan")
    for day, value in ((120, 10), (160, 8)):
        yield _said(customer, day, 15, "goal_measured", goal=GOAL["goal"], value=value)
    yield from _surveyed(customer, 96, 98, 4)


def _stuck_pilot(customer: Customer) -> Iterator[Draft]:
    """A free pilot, far too large, with one champion and no budget; put off when it was to end, and given up."""
    readiness = {"budget": False, "owner": "the champion", "process": None, "kpi": "days per cycle"}
    begins = customer.plan.starts
    for day, end in ((0, PILOT_DAYS), (PILOT_DAYS - 2, PILOT_DAYS + EXTENSION_DAYS)):
        dates = {"start": customer.date(begins), "end": customer.date(begins + end)}
        pilot = dates | {"paid": False, "readiness": readiness}
        yield _said(customer, day, 10 if day else 0.4, "updated", stage="pilot", pilot=pilot)


def _hidden_pilot(customer: Customer) -> Iterator[Draft]:
    """A pilot that is paid, ready and a success for one team, of which nobody else hears; it becomes a contract late."""
    begins = customer.plan.starts
    readiness = {"budget": True, "owner": "the champion", "process": True, "kpi": "days per cycle"}
    dates = {"start": customer.date(begins), "end": customer.date(begins + PILOT_DAYS)}
    yield _said(customer, 0, 0.4, "updated", stage="pilot", pilot=dates | {"paid": True, "readiness": readiness})
    for step, due in (("data connected", 7), ("first plan", 20), ("review", 55)):
        yield _said(customer, 0, 0.5, "milestone_planned", milestone=step, due=customer.date(begins + due))
        yield _said(customer, due, 15, "milestone_done", milestone=step)
    yield _said(customer, 1, 14, "goal_set", **GOAL, due=customer.date(begins + 50))
    yield _said(customer, 12, 14, "goal_measured", goal=GOAL["goal"], value=10)
    yield _value(customer, 20, "first plan")
    yield _said(customer, 40, 14, "goal_achieved", goal=GOAL["goal"], value=6)
    yield _said(customer, PILOT_DAYS + 12, 14, "updated", stage="live")
