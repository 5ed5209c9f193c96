"""Topic `engagement` into state: surveys, touchpoints, mail, training, community, advocacy."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

from schemas.envelope import Event
from schemas.events import engagement as said
from schemas.events.engagement import Survey
from services.signals.core.advocacy import COMMUNITY_DAYS, TRAINING_DAYS, Advocacy, count_day, note_act
from services.signals.core.apply.handler import Handler, Records
from services.signals.core.days import day_of, day_of_date
from services.signals.core.engagement import MAX_AWAY, MAX_COMPLAINTS, Announcement, Away, Complaint, Engagement
from services.signals.core.mail import BOUNCED, CLICKED, OPENED, UNSUBSCRIBED
from services.signals.core.signal import Fact
from services.signals.core.state import Account
from services.signals.core.touches import Review, Touch, hold_review, miss_review, plan_review

KEPT_ANSWERS = 16


def survey_sent(account: Account, event: Event, at: int, records: Records) -> int:
    """A survey went out, to one person or to the account."""
    data: Survey = event.data
    account.change_dossier().engagement.surveys.send(data.survey_id, data.kind, at, event.id)
    return Fact.SURVEYS


def survey_answered(account: Account, event: Event, at: int, records: Records) -> int:
    """A scored answer counts once per (survey, user). The answer with the latest time decides."""
    data: Survey = event.data
    who = data.user or ""
    user = records.user(account, who)
    identity = data.survey_id if data.kind == "nps" else f"{data.kind}\0{data.survey_id}"
    if identity in user.answered:
        return 0
    surveys = account.change_dossier().engagement.surveys
    surveys.answer(data.survey_id, data.kind, who, data.score, at, event.id)
    if data.score is None:
        return Fact.SURVEYS
    user.answered = [*user.answered, identity]
    records.changed(account, who)
    if data.kind != "nps":
        return Fact.SURVEYS
    user.nps = sorted([*user.nps, (at, data.score, event.id)], key=lambda answer: answer[0])[-KEPT_ANSWERS:]
    return Fact.SURVEY | Fact.SURVEYS


def touchpoint_held(account: Account, event: Event, at: int, records: Records) -> int:
    """A contact: bulk mail only has its own clock; a business review is a contact too."""
    data: said.Touchpoint = event.data
    touches = account.change_dossier().engagement.touches
    touches.note(at)
    if data.bulk:
        touches.send(at)
        return Fact.TOUCH
    answered = -1 if data.answered is None else int(data.answered)
    sponsor = _sponsor(account, data.contact_id)
    outbound = data.direction == "outbound" or (data.direction is None and answered == 0)
    who = data.contact_id or ""
    attempt = event.id if answered == 0 else ""  # no signal names the others
    touches.hold(Touch(at, attempt, data.kind, outbound, answered, who, sponsor == 1), data.by or "")
    if data.kind == "business_review" and answered != 0:
        hold_review(touches.reviews, Review(at, event.id, sponsor))
    return Fact.TOUCH


def _sponsor(account: Account, contact: str | None) -> int:
    """1 where the contact is an executive sponsor as roles are known now, 0 where somebody else is, -1 where nobody can tell."""
    if contact is None:
        return -1
    holders = account.hot.contacts.holders("executive_sponsor")
    return int(contact in holders) if holders else -1


def touchpoint_planned(account: Account, event: Event, at: int, records: Records) -> int:
    """A contact was planned; of business reviews the latest plan counts."""
    data: said.Touchpoint = event.data
    touches = account.change_dossier().engagement.touches
    touches.note(at)
    if data.kind == "business_review":
        plan_review(touches.reviews, at, -1 if data.due is None else day_of_date(data.due), event.id)
    return Fact.TOUCH


def touchpoint_missed(account: Account, event: Event, at: int, records: Records) -> int:
    """A contact that was planned did not take place."""
    data: said.Touchpoint = event.data
    touches = account.change_dossier().engagement.touches
    touches.note(at)
    if data.kind == "business_review":
        miss_review(touches.reviews, at, event.id)
    return Fact.TOUCH


def complaint_made(account: Account, event: Event, at: int, records: Records) -> int:
    """A complaint; the latest are kept."""
    data: said.Complaint = event.data
    complaints = account.change_dossier().engagement.complaints
    insort(complaints, Complaint(at, data.about, data.user or "", event.id), key=lambda known: known.at)
    if len(complaints) > MAX_COMPLAINTS:
        account.hot.over_cap += 1
        del complaints[:-MAX_COMPLAINTS]
    return Fact.COMPLAINTS


def _mail(what: int) -> Handler:
    def step(account: Account, event: Event, at: int, records: Records) -> int:
        data: said.Mail = event.data
        mail = account.change_dossier().engagement.mail
        mail.count(what, day_of(at), day_of(account.hot.clock))
        if what == BOUNCED:
            mail.bounce(data.user, at, event.id)
        elif what == UNSUBSCRIBED:
            mail.leave(data.user, at, event.id)
        else:
            mail.read(data.user, at)
        if mail.over:
            account.hot.over_cap += 1
            mail.forget_one()
        return Fact.MAIL

    return step


def training_attended(account: Account, event: Event, at: int, records: Records) -> int:
    """Somebody attended a training."""
    days = account.change_dossier().engagement.advocacy.training
    count_day(days, day_of(at), day_of(account.hot.clock), TRAINING_DAYS)
    return Fact.LEARNING


def community_active(account: Account, event: Event, at: int, records: Records) -> int:
    """Somebody was active in the community."""
    days = account.change_dossier().engagement.advocacy.community
    count_day(days, day_of(at), day_of(account.hot.clock), COMMUNITY_DAYS)
    return Fact.LEARNING


def _given(acts: Callable[[Advocacy], list[int]]) -> Handler:
    def step(account: Account, event: Event, at: int, records: Records) -> int:
        note_act(acts(account.change_dossier().engagement.advocacy), at)
        return Fact.ADVOCACY

    return step


def evaluation_announced(account: Account, event: Event, at: int, records: Records) -> int:
    """The customer evaluates alternatives; the latest word counts."""
    data: said.Evaluation = event.data
    engagement = account.change_dossier().engagement
    if at >= engagement.evaluation.at:
        engagement.evaluation = Announcement(at, data.rival or "", event.id)
    return Fact.EVALUATION


def contact_away(account: Account, event: Event, at: int, records: Records) -> int:
    """A contact is out of office; the latest word on each counts."""
    data: said.Away = event.data
    engagement: Engagement = account.change_dossier().engagement
    away = engagement.away
    before = away.get(data.contact_id)
    if before is None or at >= before.since:
        away[data.contact_id] = Away(at, day_of_date(data.until))
        if len(away) > MAX_AWAY:
            account.hot.over_cap += 1
            del away[min(away, key=lambda who: (away[who].until, who))]
    return Fact.AWAY


BY_TYPE: dict[str, Handler] = {
    "survey.sent": survey_sent,
    "survey.answered": survey_answered,
    "touchpoint.held": touchpoint_held,
    "touchpoint.planned": touchpoint_planned,
    "touchpoint.missed": touchpoint_missed,
    "complaint.made": complaint_made,
    "mail.opened": _mail(OPENED),
    "mail.clicked": _mail(CLICKED),
    "mail.bounced": _mail(BOUNCED),
    "mail.unsubscribed": _mail(UNSUBSCRIBED),
    "training.attended": training_attended,
    "community.active": community_active,
    "reference.given": _given(lambda advocacy: advocacy.references),
    "review.given": _given(lambda advocacy: advocacy.reviews),
    "referral.made": _given(lambda advocacy: advocacy.referrals),
    "evaluation.announced": evaluation_announced,
    "contact.away": contact_away,
}
