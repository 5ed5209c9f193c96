"""Topic `engagement`: surveys, touchpoints, mail, training, community, advocacy."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from msgspec import Struct

from schemas.envelope import Identifier, LongText, Text, event_type

TOPIC = "engagement"

SurveyKind = Literal["nps", "csat", "ces", "onboarding", "goals"]
SCORE_RANGE: dict[str, tuple[int, int]] = {
    "nps": (0, 10),
    "csat": (1, 5),
    "ces": (1, 5),
    "onboarding": (1, 5),
    "goals": (1, 5),
}
"""Lowest and highest score of each kind of survey."""


class Survey(Struct, kw_only=True):
    """A survey sent or answered. An answer is identified by (`survey_id`, `user`)."""

    survey_id: Identifier
    kind: SurveyKind
    user: Identifier | None = None
    score: int | None = None
    comment: LongText | None = None


class Touchpoint(Struct, kw_only=True):
    """A contact between vendor and customer held, planned or missed."""

    kind: Literal["call", "meeting", "business_review", "visit", "email", "event"]
    direction: Literal["inbound", "outbound"] | None = None
    bulk: bool = False
    contact_id: Identifier | None = None
    by: Text | None = None
    answered: bool | None = None
    due: dt.date | None = None


class Complaint(Struct, kw_only=True):
    """A complaint about the team, the product or something else."""

    about: Literal["team", "product", "other"]
    user: Identifier | None = None


class Mail(Struct, kw_only=True):
    """A mail was opened, clicked, bounced, or its reader unsubscribed."""

    user: Identifier
    campaign: Text | None = None


class Participation(Struct, kw_only=True):
    """Training attended, community activity, or a reference, review or referral given."""

    user: Identifier | None = None


class Evaluation(Struct, kw_only=True):
    """The customer announced that it evaluates alternatives."""

    rival: Text | None = None


class Away(Struct, kw_only=True):
    """A contact is out of office until a date."""

    contact_id: Identifier
    until: dt.date


TYPES = (
    event_type(TOPIC, "survey.sent", Survey),
    event_type(TOPIC, "survey.answered", Survey),
    event_type(TOPIC, "touchpoint.held", Touchpoint),
    event_type(TOPIC, "touchpoint.planned", Touchpoint),
    event_type(TOPIC, "touchpoint.missed", Touchpoint),
    event_type(TOPIC, "complaint.made", Complaint),
    *(event_type(TOPIC, f"mail.{what}", Mail) for what in ("opened", "clicked", "bounced", "unsubscribed")),
    *(
        event_type(TOPIC, name, Participation)
        for name in ("training.attended", "community.active", "reference.given", "review.given", "referral.made")
    ),
    event_type(TOPIC, "evaluation.announced", Evaluation),
    event_type(TOPIC, "contact.away", Away),
)
