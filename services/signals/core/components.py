"""The ten components of the health score: what each rests on, in numbers and in words.

Each value says until when it rests if nothing happens, so that an account that rests is not scored at each midnight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.signals.core.apply import SEEN
from services.signals.core.days import DAY_US, NEVER, day_of
from services.signals.core.engagement import (
    advocacy_acts,
    community_activity,
    last_executive_contact,
    mail_response,
    trainings_attended,
)
from services.signals.core.score import MISSING, WEIGHTS, Component, Part, Words
from services.signals.core.signal import Fact
from services.signals.core.state import Account
from services.signals.core.subscriptions import SETTLED_IN_US, first_contract, known_since, recurring
from services.signals.core.support import (
    SOLVED_DAYS,
    Support,
    next_crossing,
    questions_asked,
    resolution_days,
    tickets_opened,
)
from services.signals.core.surveys import latest_scores
from services.signals.core.windows import USAGE, Windows

USING: Final = Fact.USAGE | Fact.LATE_USAGE | Fact.LAST_USAGE | Fact.ACTIVE
FULL_SHARE: Final = 0.8
LICENCES_SHARE: Final = 0.6
"""Weight of licences in use against the trend of usage, where both are known."""
GOAL_SHARE: Final = 0.6
TREND_MIN: Final = 20
OVERDUE: Final = ((60, 0.0), (30, 15.0), (15, 40.0), (1, 70.0))
"""Days past due of the oldest unpaid recurring invoice, and what payment is worth from there."""
AGED_US: Final = 10 * DAY_US


def bit(*types: str) -> int:
    """The bits of event types in `Hot.seen`."""
    return sum(1 << SEEN.index(name) for name in types)


INVOICED: Final = bit("invoice.issued")
TICKETED: Final = bit("ticket.opened")
TOLD_OF_TICKETS: Final = bit(*(name for name in SEEN if name.startswith("ticket.")))
ANSWERED: Final = bit("survey.answered")
PAYING: Final = bit("account.updated", "account.subscription_changed", "account.renewed", "invoice.issued")
TOUCHED: Final = bit("touchpoint.held")
MAILED: Final = bit("mail.opened", "mail.clicked", "mail.bounced", "mail.unsubscribed")
ADVOCATED: Final = bit("reference.given", "review.given", "referral.made")
LEARNT: Final = bit("training.attended", "community.active")

FLOOD_MIN: Final = 5
SLOW_DAYS: Final = 7
SILENT_US: Final = 90 * DAY_US
SILENCE_COSTS: Final = 15.0
FALLING: Final = 50.0
"""The trend of usage at three quarters of the 28 days before."""
ADOPTION, SUPPORT = list(WEIGHTS).index("adoption"), list(WEIGHTS).index("support")
ANSWER_US: Final = 180 * DAY_US
QUESTION_DAYS: Final = 90
EXECUTIVE: Final = ((90, 100.0), (180, 60.0))
"""Days since the last contact with an executive, and what the relationship is worth until then."""

NO_SURVEY: Final = Words("no survey was answered in half a year", "Send a survey")
PAYS_UNKNOWN: Final = Words("what the account pays is not known", "Send mrr or subscriptions")
NOTHING_DUE: Final = Words("nothing is past due", "Nothing to do")
NO_EXECUTIVE: Final = Words("no executive was ever met", "Plan a meeting with the sponsor", "the sponsor is met", 100.0)
NO_MAIL: Final = Words(
    "0 mails opened, 0 clicked, 0 bounced, 0 unsubscribed in 90 days", "Write what concerns them, to whom it concerns"
)
NO_ADVOCACY: Final = Words("0 references, reviews and referrals in a year", "Ask for a reference")
NO_COMMUNITY: Final = Words("0 community activities in 90 days, 0 trainings in 180", "Invite them to the next event")


# -- adoption: licences in use, and usage against the 28 days before ----------------------------------------------------


def _licences(account: Account, shared: float = 0.0) -> float | None:
    profile = account.hot.profile
    seats = profile.seats
    if not seats or not profile.per_seat:
        return None
    return 100 * min(1.0, account.hot.activity.in_28 / (1 + shared) / seats / FULL_SHARE)


def _trend(account: Account) -> float:
    """100 where usage held or grew against the 28 complete days before, 0 where it halved or stopped.

    Fewer uses than `TREND_MIN` before are too few to tell more than whether it is used at all.
    """
    windows = account.windows
    return _held(windows.complete_28(USAGE), windows.complete_previous_28(USAGE), windows.now[USAGE])


def _held(current: float, previous: int, today: int) -> float:
    if previous < TREND_MIN:
        return 100.0 if current or today else 0.0
    return 100 * min(1.0, max(0.0, (current / previous - 0.5) / 0.5))


def regained(account: Account, now: int, shared: float, weights: Sequence[float]) -> float:
    """Points of the score that a fall of usage which all accounts share takes of this one's: what it would have more with
    its usage and its active users of 28 days as they were without it. `shared` is a ratio minus one, above -1 and below 0."""
    hot, windows = account.hot, account.windows
    known = hot.coverage * sum(weights)
    if not known or hot.last_usage < 0:
        return 0.0
    current, previous = windows.complete_28(USAGE), windows.complete_previous_28(USAGE)
    trend = _trend(account)
    alone = _held(current / (1 + shared), previous, windows.now[USAGE])
    adopted = _adopted(_licences(account, shared), alone) - _adopted(_licences(account), trend)
    points = weights[ADOPTION] * adopted
    if trend < FALLING <= alone and hot.seen & TICKETED and now >= account.dossier.support.last_opened + SILENT_US:
        points += weights[SUPPORT] * SILENCE_COSTS
    return points / known


def _adopted(licences: float | None, trend: float) -> float:
    return trend if licences is None else LICENCES_SHARE * licences + (1 - LICENCES_SHARE) * trend


def _adoption(account: Account, now: int) -> Part:
    if account.hot.last_usage < 0:
        return MISSING
    windows = account.windows
    current, previous = windows.complete_28(USAGE), windows.complete_previous_28(USAGE)
    days = _trend_rests(windows, current + previous)
    licences = _licences(account)
    if licences is not None and days != 1 and (leaving := account.hot.activity.next_change()):
        days = min(days or leaving, leaving)
    rests = (day_of(now) + days) * DAY_US if days else NEVER
    return Part(_adopted(licences, _held(current, previous, windows.now[USAGE])), rests)


def _trend_rests(windows: Windows, used: int) -> int:
    """In how many days a midnight may first change the trend, 0 if none does. `used` is what the 56 complete days come to."""
    today = windows.now[USAGE]
    if used + today < TREND_MIN:  # too few to become a trend: it tells only whether the last 28 days had any
        newest = 0 if today else next((age for age, uses in enumerate(windows.by_age(USAGE, 29)) if uses), 29)
        return 29 - newest
    if today or windows.on_age(USAGE, 28) or windows.on_age(USAGE, 56):
        return 1
    uses = windows.by_age(USAGE, 56)
    oldest = ((reach, next((age for age in range(reach - 1, 0, -1) if uses[age]), 0)) for reach in (28, 56))
    return min((reach + 1 - age for reach, age in oldest if age), default=0)


def _adoption_words(account: Account, now: int, _: Part) -> Words:
    hot, windows = account.hot, account.windows
    current, previous = windows.complete_28(USAGE), windows.complete_previous_28(USAGE)
    seats, active = hot.profile.seats, hot.activity.in_28
    why = f"{current} uses in the last 28 complete days, {previous} in the 28 before"
    if not seats or not hot.profile.per_seat:
        better = f"usage back to {previous} uses in 28 days" if current < previous else ""
        return Words(why, "Find out what stopped, and plan the next use", better, 100.0 if better else 0.0)
    why = f"{active} of {seats} seats active in 28 days; {why}"
    share = GOAL_SHARE if active < GOAL_SHARE * seats else FULL_SHARE
    goal = -int(-share * seats // 1)
    if active >= goal:
        return Words(why, "Keep it up", "", 0.0)
    trend = _held(current, previous, windows.now[USAGE])
    changed = _adopted(100 * min(1.0, goal / seats / FULL_SHARE), trend)
    return Words(why, "Bring the idle seats into use", f"{goal} of {seats} seats active", changed)


# -- payment: the oldest unpaid recurring invoice past due --------------------------------------------------------------


def _payment(account: Account, now: int) -> Part:
    hot = account.hot
    if not hot.invoices and not hot.seen & INVOICED:
        return MISSING
    today = day_of(now)
    score, rests = 100.0, NEVER
    for invoice in hot.invoices.values():
        if not invoice.recurring:
            continue
        late = today - invoice.due_day
        score = min(score, next((worth for days, worth in OVERDUE if late >= days), 100.0))
        rests = min([rests, *((invoice.due_day + days) * DAY_US for days, _ in OVERDUE if late < days)])
    return Part(score, rests)


def _payment_words(account: Account, now: int, _: Part) -> Words:
    if not account.hot.invoices:
        return NOTHING_DUE
    today = day_of(now)
    late = [today - i.due_day for i in account.hot.invoices.values() if i.recurring and i.due_day < today]
    if not late:
        return NOTHING_DUE
    count = "1 invoice is" if len(late) == 1 else f"{len(late)} invoices are"
    why = f"{count} past due, the oldest by {max(late)} days"
    return Words(why, "Ask finance to walk the dunning steps", "what is past due is paid", 100.0)


# -- support: urgent tickets, how many come, how long they take; silence while usage falls ------------------------------


def _urgent(account: Account, now: int) -> tuple[int, int, int]:
    """Open P1 and P2 tickets, those open for ten days, and when the next comes to be so."""
    tickets = account.open_tickets
    return len(tickets.critical), tickets.critical_for(now, AGED_US), tickets.next_critical_for(now, AGED_US) or NEVER


def _flood(support: Support, now: int) -> tuple[int, float]:
    """Tickets of the last 30 days, and how many 30 days usually have: the mean of the 60 before."""
    return tickets_opened(support, now, 30), tickets_opened(support, now, 60, before=30) / 2


def _support(account: Account, now: int) -> Part:
    if not account.hot.seen & TICKETED:
        return MISSING
    support = account.dossier.support
    urgent, aged, next_aged = _urgent(account, now)
    score = 100.0 - 15 * min(3, urgent) - (20 if aged else 0)
    opened, usual = _flood(support, now)
    if opened >= FLOOD_MIN and opened > 2 * usual:
        score -= 15
    took = resolution_days(support, now)
    if took is not None and took[0] > SLOW_DAYS:
        score -= 10
    quiet = support.last_opened + SILENT_US
    trend_rests = quiet if now < quiet else _adoption(account, now).rests_until
    if now >= quiet and _trend(account) < FALLING:
        score -= SILENCE_COSTS
    solved = (known.at + SOLVED_DAYS * DAY_US for known in support.solved.values())
    crossing = next_crossing(support, now, (30, 90)) or NEVER
    rests = min([next_aged, crossing, trend_rests, *(at for at in solved if at > now)])
    return Part(max(0.0, score), rests)


def _support_words(account: Account, now: int, part: Part) -> Words:
    if not account.hot.seen & TOLD_OF_TICKETS:
        why = "0 tickets in 30 days (0 usual), 0 urgent open"
        return _quiet_words(why) if _trend(account) < FALLING else Words(why, "Nothing to do")
    support = account.dossier.support
    urgent, aged = _urgent(account, now)[:2]
    opened, usual = _flood(support, now)
    took = resolution_days(support, now)
    why = f"{opened} tickets in 30 days ({usual:g} usual), {urgent} urgent open"
    why += f", {aged} of them for 10 days" if aged else ""
    why += f"; {took[0]:.1f} days to solve one" if took is not None else ""
    if urgent:
        better = (part.score or 0.0) + 15 * min(3, urgent) + (20 if aged else 0)
        return Words(why, "Solve the urgent tickets and tell the customer", "the urgent tickets are solved", better)
    if now >= support.last_opened + SILENT_US and _trend(account) < FALLING:
        return _quiet_words(why)
    return Words(why, "Nothing to do")


def _quiet_words(why: str) -> Words:
    return Words(why + "; silent while usage falls", "Ask what they would need help with")


# -- survey: the latest answer of each kind -----------------------------------------------------------------------------


def _survey(account: Account, now: int) -> Part:
    if not account.hot.seen & ANSWERED:
        return MISSING
    fresh = [
        (10.0 * score if kind == "nps" else 25.0 * (score - 1), at)
        for kind, (at, score) in latest_scores(account.dossier.engagement.surveys).items()
        if now < at + ANSWER_US
    ]
    if not fresh:
        return MISSING
    return Part(sum(worth for worth, _ in fresh) / len(fresh), min(at for _, at in fresh) + ANSWER_US)


def _survey_words(account: Account, now: int, _: Part) -> Words:
    answers = latest_scores(account.dossier.engagement.surveys)
    said = ", ".join(f"{kind} {score}" for kind, (at, score) in answers.items() if now < at + ANSWER_US)
    return Words(
        f"latest answers: {said}", "Call who answered low, and close the loop", "all answer with the best", 100.0
    )


# -- contract growth: what is paid against the first contract -----------------------------------------------------------


def _growth(account: Account, now: int) -> float | None:
    if not account.hot.seen & PAYING:
        return None
    paid = account.dossier.billing.subscriptions
    first, current = first_contract(paid), recurring(paid, now)
    return float(current / first) if first and current is not None else None


def _contract_growth(account: Account, now: int) -> Part:
    ratio = _growth(account, now)
    if ratio is None:
        return MISSING
    settled = known_since(account.dossier.billing.subscriptions) + SETTLED_IN_US
    score = min(100.0, 70 + 150 * (ratio - 1)) if ratio >= 1 else max(0.0, 70 - 350 * (1 - ratio))
    return Part(score, settled if now < settled else NEVER, ratio)


def _contract_growth_words(_: Account, __: int, part: Part) -> Words:
    ratio = part.basis or 0.0
    return Words(
        f"pays {100 * ratio:.0f} % of its first contract",
        "Agree on the next step of growth" if ratio >= 1 else "Find out what they gave up and why",
        "the contract grows by a fifth over the first",
        100.0,
    )


# -- self-sufficiency: how-to questions per active user -----------------------------------------------------------------


def _self_sufficiency(account: Account, now: int) -> Part:
    active = account.hot.activity.in_28
    if not account.hot.seen & TICKETED or not active:
        return MISSING
    support = account.dossier.support
    asked = questions_asked(support, now, QUESTION_DAYS)
    leaving = (day_of(now) + account.hot.activity.next_change()) * DAY_US
    crossing = next_crossing(support, now, (QUESTION_DAYS,)) or NEVER
    return Part(100 * max(0.0, 1 - asked / active), min(leaving, crossing))


def _self_sufficiency_words(account: Account, now: int, _: Part) -> Words:
    hot = account.hot
    asked = questions_asked(account.dossier.support, now, QUESTION_DAYS) if hot.seen & TOLD_OF_TICKETS else 0
    active = hot.activity.in_28
    why = f"{asked} how-to questions in {QUESTION_DAYS} days from {active} active users"
    return Words(why, "Invite them to a training" if asked else "Nothing to do", "nobody has to ask", 100.0)


# -- executive relationship: the sponsor, and the last contact with one -------------------------------------------------


def _executive(account: Account, now: int) -> Part:
    contacts = account.hot.contacts
    if "executive_sponsor" in contacts.lost:
        return Part(0.0)
    last = last_executive_contact(account.dossier.engagement) if account.hot.seen & TOUCHED else -1
    if last < 0:
        return Part(40.0) if contacts.holders("executive_sponsor") else MISSING
    for days, worth in EXECUTIVE:
        if now < last + days * DAY_US:
            return Part(worth, last + days * DAY_US)
    return Part(20.0)


def _executive_words(account: Account, now: int, _: Part) -> Words:
    if "executive_sponsor" in account.hot.contacts.lost:
        return Words("the executive sponsor left", "Win a new sponsor", "a new sponsor is met", 100.0)
    last = last_executive_contact(account.dossier.engagement) if account.hot.seen & TOUCHED else -1
    if last < 0:
        return NO_EXECUTIVE
    why = f"an executive was last met {(now - last) // DAY_US} days ago"
    return Words(why, "Plan the next executive contact", "the sponsor is met", 100.0)


# -- marketing engagement, advocacy, community --------------------------------------------------------------------------


def _marketing(account: Account, now: int) -> Part:
    if not account.hot.seen & MAILED:
        return MISSING
    (opened, clicked, bounced, unsubscribed), rests = mail_response(account.dossier.engagement, now)
    good, bad = opened + clicked, 5 * (bounced + unsubscribed)
    return Part(100 * good / (good + bad) if good else 0.0, rests)


def _marketing_words(account: Account, now: int, _: Part) -> Words:
    opened, clicked, bounced, unsubscribed = mail_response(account.dossier.engagement, now)[0]
    why = f"{opened} mails opened, {clicked} clicked, {bounced} bounced, {unsubscribed} unsubscribed in 90 days"
    return Words(why, "Write what concerns them, to whom it concerns", "mails are read", 100.0)


def _advocacy(account: Account, now: int) -> Part:
    if not account.hot.seen & ADVOCATED:
        return MISSING
    acts, rests = advocacy_acts(account.dossier.engagement, now)
    return Part(100.0 if acts else 30.0, rests)


def _advocacy_words(account: Account, now: int, _: Part) -> Words:
    acts = advocacy_acts(account.dossier.engagement, now)[0]
    why = f"{acts} references, reviews and referrals in a year"
    return Words(why, "Thank them" if acts else "Ask for a reference", "a reference is given", 100.0)


def _community(account: Account, now: int) -> Part:
    if not account.hot.seen & LEARNT:
        return MISSING
    engagement = account.dossier.engagement
    active, rests = community_activity(engagement, now)
    trained, also = trainings_attended(engagement, now)
    return Part(min(100.0, 25.0 * (active + trained)), min(rests, also))


def _community_words(account: Account, now: int, _: Part) -> Words:
    engagement = account.dossier.engagement
    active, trained = community_activity(engagement, now)[0], trainings_attended(engagement, now)[0]
    why = f"{active} community activities in 90 days, {trained} trainings in 180"
    return Words(why, "Invite them to the next event", "four take part", 100.0)


COMPONENTS: Final = (
    Component("adoption", USING | Fact.PROFILE, _adoption, _adoption_words),
    Component("support", USING | Fact.TICKETS, _support, _support_words),
    Component("payment", Fact.INVOICES, _payment, _payment_words, NOTHING_DUE),
    Component("survey", Fact.SURVEY | Fact.SURVEYS, _survey, _survey_words, NO_SURVEY),
    Component(
        "contract_growth",
        Fact.PROFILE | Fact.SUBSCRIPTIONS | Fact.INVOICES | Fact.CONTRACT,
        _contract_growth,
        _contract_growth_words,
        PAYS_UNKNOWN,
    ),
    Component("self_sufficiency", Fact.TICKETS | Fact.ACTIVE, _self_sufficiency, _self_sufficiency_words),
    Component("executive_relationship", Fact.CONTACTS | Fact.TOUCH, _executive, _executive_words, NO_EXECUTIVE),
    Component("marketing_engagement", Fact.MAIL, _marketing, _marketing_words, NO_MAIL),
    Component("advocacy", Fact.ADVOCACY, _advocacy, _advocacy_words, NO_ADVOCACY),
    Component("community", Fact.LEARNING, _community, _community_words, NO_COMMUNITY),
)
"""In the order of the weights."""
