"""Topic `engagement` into state: surveys, touchpoints, mail, training, community, advocacy."""

from __future__ import annotations

from schemas.envelope import Event
from schemas.events.engagement import Survey
from services.signals.core.apply.handler import Handler, Records, known
from services.signals.core.signal import Fact
from services.signals.core.state import Account

KEPT_ANSWERS = 16


def survey_answered(account: Account, event: Event, at: int, records: Records) -> int:
    """An NPS answer counts once per (survey, user). The answer with the latest time decides."""
    data: Survey = event.data
    if data.kind != "nps" or data.score is None:
        return 0
    user = records.user(account, data.user or "")
    if data.survey_id in user.answered:
        return 0
    user.answered = [*user.answered, data.survey_id]
    user.nps = sorted([*user.nps, (at, data.score, event.id)], key=lambda answer: answer[0])[-KEPT_ANSWERS:]
    records.changed(account, data.user or "")
    return Fact.SURVEY


BY_TYPE: dict[str, Handler] = {
    "survey.sent": known,
    "survey.answered": survey_answered,
    "touchpoint.held": known,
    "touchpoint.planned": known,
    "touchpoint.missed": known,
    "complaint.made": known,
    "mail.opened": known,
    "mail.clicked": known,
    "mail.bounced": known,
    "mail.unsubscribed": known,
    "training.attended": known,
    "community.active": known,
    "reference.given": known,
    "review.given": known,
    "referral.made": known,
    "evaluation.announced": known,
    "contact.away": known,
}
