"""The ten components of the health score: what each rests on, in numbers and in words.

Each value says until when it rests if nothing happens, so that an account that rests is not scored at each midnight.
"""

from __future__ import annotations

from typing import Final

from services.signals.core.apply import SEEN
from services.signals.core.days import DAY_US, NEVER, day_of
from services.signals.core.score import MISSING, Component, Part, Words
from services.signals.core.state import Account
from services.signals.core.windows import USAGE

FULL_SHARE: Final = 0.8
LICENCES_SHARE: Final = 0.6
"""Weight of licences in use against the trend of usage, where both are known."""
GOAL_SHARE: Final = 0.6
OVERDUE: Final = ((60, 0.0), (30, 15.0), (15, 40.0), (1, 70.0))
"""Days past due of the oldest unpaid recurring invoice, and what payment is worth from there."""
AGED_US: Final = 10 * DAY_US


def bit(*types: str) -> int:
    """The bits of event types in `Hot.seen`."""
    return sum(1 << SEEN.index(name) for name in types)


USED: Final = bit("usage.feature_used", "usage.page_viewed", "usage.logged_in", "usage.value_reached")
INVOICED: Final = bit("invoice.issued")
TICKETED: Final = bit("ticket.opened")


# -- adoption: licences in use, and usage against the 28 days before ----------------------------------------------------


def _licences(account: Account) -> float | None:
    profile = account.hot.profile
    seats = profile.seats
    if not seats or not profile.per_seat:
        return None
    return 100 * min(1.0, account.hot.activity.in_28 / seats / FULL_SHARE)


def _trend(account: Account) -> float:
    """100 where usage held or grew against the 28 complete days before, 0 where it halved or never was."""
    windows = account.windows
    current, previous = windows.complete_28(USAGE), windows.complete_previous_28(USAGE)
    if not previous:
        return 100.0 if current or windows.now[USAGE] else 0.0
    return 100 * min(1.0, max(0.0, (current / previous - 0.5) / 0.5))


def _adopted(licences: float | None, trend: float) -> float:
    return trend if licences is None else LICENCES_SHARE * licences + (1 - LICENCES_SHARE) * trend


def _adoption(account: Account, now: int) -> Part:
    hot = account.hot
    if hot.last_usage < 0 and not hot.seen & USED:
        return MISSING
    uses = account.windows.by_age(USAGE, 57)
    days = 1 if uses[0] else 0
    for reach in (28, 56):
        for age in range(reach, 0, -1) if not days or days > 1 else ():
            if uses[age]:
                days = min(days or reach + 1 - age, reach + 1 - age)
                break
    if leaving := hot.activity.next_change():
        days = min(days or leaving, leaving)
    rests = (day_of(now) + days) * DAY_US if days else NEVER
    return Part(_adopted(_licences(account), _trend(account)), rests)


def _adoption_words(account: Account, now: int) -> Words:
    hot, windows = account.hot, account.windows
    current, previous = windows.complete_28(USAGE), windows.complete_previous_28(USAGE)
    seats, active = hot.profile.seats, hot.activity.in_28
    why = f"{current} uses in the last 28 complete days, {previous} in the 28 before"
    if _licences(account) is None:
        better = f"usage back to {previous} uses in 28 days" if current < previous else ""
        return Words(why, "Find out what stopped, and plan the next use", better, 100.0 if better else 0.0)
    why = f"{active} of {seats} seats active in 28 days; {why}"
    share = GOAL_SHARE if active < GOAL_SHARE * seats else FULL_SHARE
    goal = -int(-share * seats // 1)
    if active >= goal:
        return Words(why, "Keep it up", "", 0.0)
    changed = _adopted(100 * min(1.0, goal / seats / FULL_SHARE), _trend(account))
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


def _payment_words(account: Account, now: int) -> Words:
    today = day_of(now)
    late = [today - i.due_day for i in account.hot.invoices.values() if i.recurring and i.due_day < today]
    if not late:
        return Words("nothing is past due", "Nothing to do")
    count = "1 invoice is" if len(late) == 1 else f"{len(late)} invoices are"
    why = f"{count} past due, the oldest by {max(late)} days"
    return Words(why, "Ask finance to walk the dunning steps", "what is past due is paid", 100.0)


def _missing(account: Account, now: int) -> Part:
    return MISSING


def _no_words(account: Account, now: int) -> Words:
    return Words("nothing is known of it", "Connect the source of these events")


COMPONENTS: Final = (
    Component("adoption", _adoption, _adoption_words),
    Component("support", _missing, _no_words),
    Component("payment", _payment, _payment_words),
    Component("survey", _missing, _no_words),
    Component("contract_growth", _missing, _no_words),
    Component("self_sufficiency", _missing, _no_words),
    Component("executive_relationship", _missing, _no_words),
    Component("marketing_engagement", _missing, _no_words),
    Component("advocacy", _missing, _no_words),
    Component("community", _missing, _no_words),
)
"""In the order of the weights."""
