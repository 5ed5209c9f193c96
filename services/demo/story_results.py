"""What Financiality's first year must show: each change with its instant, worked out by hand from the signals' meanings."""

from __future__ import annotations

import datetime as dt
from typing import Literal, NamedTuple

What = Literal["raised", "escalated", "cleared"]


class Change(NamedTuple):
    """A transition that the story must cause: when, of which signal, what, for which user, about what (None: neither)."""

    time: dt.datetime
    signal: str
    change: What
    user: str | None = None
    about: str | None = None


def _on(at: str, signal: str, change: What, user: str | None = None, about: str | None = None) -> Change:
    return Change(dt.datetime.fromisoformat(at).replace(tzinfo=dt.UTC), signal, change, user, about)


SCORED = frozenset(("advocacy.reference_candidate", "advocacy.review_candidate", "health.drop", "renewal.early"))
"""Signals that follow the health score, whose instants nobody works out by hand."""

EXPECTED: tuple[Change, ...] = (
    # Out of office until 07-14: the kickoff of 07-02 is planned anew for 07-16, 14 days later.
    _on("2014-07-02T08:20", "onboarding.milestone_slipped", "raised", about="kickoff"),
    _on("2014-07-02T08:20", "onboarding.sla_at_risk", "raised"),
    # The kickoff is held. The launch is planned for 09-05, past the 56 days that end on 08-25: still at risk.
    _on("2014-07-16T13:00", "onboarding.milestone_slipped", "cleared", about="kickoff"),
    # Each solved ticket is asked about at the next midnight, and rated two days and an hour after it was solved.
    _on("2014-07-24T00:00", "lifecycle.csat_after_ticket", "raised"),
    _on("2014-07-25T10:00", "lifecycle.csat_after_ticket", "cleared"),
    _on("2014-08-22T00:00", "lifecycle.csat_after_ticket", "raised"),
    _on("2014-08-23T11:30", "lifecycle.csat_after_ticket", "cleared"),
    # Two weeks after the training of 08-14; a call in the morning.
    _on("2014-08-28T00:00", "lifecycle.training_followup", "raised"),
    _on("2014-08-28T10:00", "lifecycle.training_followup", "cleared"),
    # The first close with Wingtip, on day 59: before day 60, so no risk; no goal is set in the 30 days after it.
    _on("2014-08-28T15:05", "value.reached", "raised"),
    # Launched on 09-05; the survey is answered with 5 of 5, which ends the risk as well.
    _on("2014-09-06T00:00", "lifecycle.onboarding_survey", "raised"),
    _on("2014-09-08T10:20", "lifecycle.onboarding_survey", "cleared"),
    _on("2014-09-08T10:20", "onboarding.sla_at_risk", "cleared"),
    # Seven days after a first login with fewer than three pages; gone with the third page of the next session.
    _on("2014-09-18T09:05", "adoption.user_stuck", "raised", "hana"),
    _on("2014-09-22T09:08", "adoption.user_stuck", "cleared", "hana"),
    # The tenth page of the fiftieth session (one page a minute after the login); cleared by the next midnight.
    _on("2014-09-23T08:40", "advocacy.power_user", "raised", "ana"),
    _on("2014-09-24T00:00", "advocacy.power_user", "cleared", "ana"),
    _on("2014-09-24T08:55", "advocacy.power_user", "raised", "ben"),
    _on("2014-09-25T00:00", "advocacy.power_user", "cleared", "ben"),
    _on("2014-09-26T09:00", "advocacy.power_user", "raised", "carla"),
    _on("2014-09-27T00:00", "advocacy.power_user", "cleared", "carla"),
    _on("2014-09-27T15:05", "value.reached", "cleared"),
    # Three calendar months after the signature; the first answer comes a day later, and is a 9.
    _on("2014-09-30T00:00", "lifecycle.nps_3_months", "raised"),
    _on("2014-10-01T10:00", "lifecycle.nps_3_months", "cleared"),
    _on("2014-10-01T10:00", "advocacy.promoter", "raised", "ana"),
    _on("2014-10-03T10:25", "advocacy.power_user", "raised", "greta"),
    _on("2014-10-04T00:00", "advocacy.power_user", "cleared", "greta"),
    # 9 as well; ben's 8 of 10-02 is no promoter's.
    _on("2014-10-06T09:30", "advocacy.promoter", "raised", "carla"),
    # An NPS answer of 4: at once; after 90 days without another answer it is too old to act on.
    _on("2014-10-07T14:05", "survey.detractor", "raised", "dmitri"),
    _on("2014-10-13T09:20", "adoption.user_stuck", "raised", "ivan"),
    _on("2014-10-14T09:20", "advocacy.power_user", "raised", "dmitri"),
    _on("2014-10-14T09:23", "adoption.user_stuck", "cleared", "ivan"),
    _on("2014-10-15T00:00", "advocacy.power_user", "cleared", "dmitri"),
    _on("2014-10-18T00:00", "lifecycle.csat_after_ticket", "raised"),
    _on("2014-10-19T16:00", "lifecycle.csat_after_ticket", "cleared"),
    _on("2014-11-03T09:35", "adoption.user_stuck", "raised", "jana"),
    _on("2014-11-05T09:38", "adoption.user_stuck", "cleared", "jana"),
    _on("2014-11-12T10:00", "advocacy.power_user", "raised", "eva"),
    _on("2014-11-13T00:00", "advocacy.power_user", "cleared", "eva"),
    # T-105, solved while this one is open, is not asked about.
    _on("2014-11-14T00:00", "lifecycle.csat_after_ticket", "raised"),
    _on("2014-11-15T17:00", "lifecycle.csat_after_ticket", "cleared"),
    # The fifth ticket in seven days; over when the window has passed (11-18) and the last of the five is resolved.
    _on("2014-11-17T10:12", "support.burst", "raised"),
    # Two tickets were solved on 11-18: done with the rating of the second.
    _on("2014-11-19T00:00", "lifecycle.csat_after_ticket", "raised"),
    _on("2014-11-19T10:10", "advocacy.power_user", "raised", "filip"),
    _on("2014-11-20T00:00", "advocacy.power_user", "cleared", "filip"),
    _on("2014-11-20T14:30", "support.burst", "cleared"),
    _on("2014-11-20T16:00", "lifecycle.csat_after_ticket", "cleared"),
    _on("2014-11-21T00:00", "lifecycle.csat_after_ticket", "raised"),
    _on("2014-11-22T15:30", "lifecycle.csat_after_ticket", "cleared"),
    # 2 pages in the first visit: the eighth page of the fiftieth session is the five hundredth.
    _on("2014-11-28T09:13", "advocacy.power_user", "raised", "hana"),
    _on("2014-11-29T00:00", "advocacy.power_user", "cleared", "hana"),
    # 90 days after the launch; the review is held on 12-08, and the goals survey is answered after it.
    _on("2014-12-04T00:00", "lifecycle.business_review", "raised"),
    _on("2014-12-04T00:00", "lifecycle.goals_survey", "raised"),
    _on("2014-12-08T14:00", "lifecycle.business_review", "cleared"),
    _on("2014-12-08T16:30", "lifecycle.goals_survey", "cleared"),
    # The goal is achieved, and the next one set five minutes later.
    _on("2014-12-15T16:10", "value.reached", "raised"),
    _on("2014-12-15T16:15", "value.reached", "cleared"),
    # 90 days after their answers.
    _on("2014-12-30T10:00", "advocacy.promoter", "cleared", "ana"),
    _on("2015-01-04T09:30", "advocacy.promoter", "cleared", "carla"),
    _on("2015-01-05T14:05", "survey.detractor", "cleared", "dmitri"),
    # 1 page in the first visit: the ninth.
    _on("2015-01-12T09:29", "advocacy.power_user", "raised", "ivan"),
    _on("2015-01-13T00:00", "advocacy.power_user", "cleared", "ivan"),
    _on("2015-01-16T00:00", "lifecycle.csat_after_ticket", "raised"),
    _on("2015-01-17T12:00", "lifecycle.csat_after_ticket", "cleared"),
    # The eleventh of 13 licences becomes active with kofi's first login; value was reached on 2014-12-15.
    _on("2015-02-16T10:30", "expansion.seats", "raised"),
    _on("2015-03-02T09:45", "advocacy.power_user", "raised", "jana"),
    _on("2015-03-03T00:00", "advocacy.power_user", "cleared", "jana"),
    _on("2015-03-13T00:00", "lifecycle.csat_after_ticket", "raised"),
    _on("2015-03-14T13:00", "lifecycle.csat_after_ticket", "cleared"),
    # 90 days to the renewal: an answer is due, and nothing is unsecured, for no risk is open.
    _on("2015-04-01T00:00", "lifecycle.nps_before_renewal", "raised"),
    _on("2015-04-02T10:00", "lifecycle.nps_before_renewal", "cleared"),
    _on("2015-04-02T10:00", "advocacy.promoter", "raised", "ana"),
    _on("2015-04-07T09:30", "advocacy.promoter", "raised", "hana"),
    _on("2015-04-24T10:40", "advocacy.power_user", "raised", "kofi"),
    _on("2015-04-25T00:00", "advocacy.power_user", "cleared", "kofi"),
    # 60 days to the renewal, which comes on 06-26.
    _on("2015-05-01T00:00", "lifecycle.renewal_notice", "raised"),
    _on("2015-05-14T00:00", "lifecycle.csat_after_ticket", "raised"),
    _on("2015-05-15T17:40", "lifecycle.csat_after_ticket", "cleared"),
    # 90 days after the review, and the survey, of 03-05: both on the very day.
    _on("2015-06-03T00:00", "lifecycle.business_review", "raised"),
    _on("2015-06-03T00:00", "lifecycle.goals_survey", "raised"),
    _on("2015-06-03T14:00", "lifecycle.business_review", "cleared"),
    _on("2015-06-03T16:30", "lifecycle.goals_survey", "cleared"),
    _on("2015-06-10T16:10", "value.reached", "raised"),
    _on("2015-06-10T16:15", "value.reached", "cleared"),
    # 16 licences from the renewal on.
    _on("2015-06-26T10:00", "expansion.seats", "cleared"),
    _on("2015-06-26T10:05", "lifecycle.renewal_notice", "cleared"),
    # 16 licences at 2966.67 USD a month, 23 % more than at the signature.
    _on("2015-06-27T00:00", "expansion.contract_growth", "raised"),
    # 90 days after the second answer.
    _on("2015-07-01T10:00", "advocacy.promoter", "cleared", "ana"),
)
"""Every transition of the first year, by time, but for those of `SCORED`; no other is to be seen."""
