"""Contacts between vendor and customer: who was reached when, what stayed unanswered, and business reviews planned and held."""

from __future__ import annotations

from bisect import insort
from typing import Final

from msgspec import Struct, field

from services.signals.core.days import DAY_US, day_of, midnight

KEPT_TOUCHES: Final = 40
KEPT_BULK: Final = 8
KEPT_NAMES: Final = 20
KEPT_REVIEWS: Final = 8
MEETINGS: Final = ("meeting", "business_review", "visit")
"""Kinds of contact that do not take place without the customer."""


class Touch(Struct, array_like=True):
    """A personal contact that was held, at `at` (µs). `answered` is -1 where nothing was said of it, else 0 or 1.

    `event_id` is of attempts that stayed unanswered.
    """

    at: int
    event_id: str
    kind: str
    outbound: bool = False
    answered: int = -1
    contact: str = ""
    executive: bool = False

    @property
    def qualifies(self) -> bool:
        """Whether it counts as contact: nobody said that it stayed unanswered."""
        return self.answered != 0

    @property
    def reached(self) -> bool:
        """Whether somebody at the customer is known to have taken part."""
        return self.qualifies and (not self.outbound or self.answered == 1 or self.kind in MEETINGS)


class Review(Struct, array_like=True):
    """A business review that was held: with an executive sponsor (1), without though there is one (0), or unknown (-1)."""

    at: int
    event_id: str
    sponsor: int = -1


class Reviews(Struct, array_like=True):
    """Business reviews. The latest plan decides, by the time at which it was said; `due_day` -1 is a plan without a date."""

    planned_at: int = -1
    due_day: int = -1
    plan_event: str = ""
    missed_at: int = -1
    missed_event: str = ""
    held: list[Review] = []


class Touches(Struct, array_like=True):
    """Contacts by time: the latest personal ones and the latest bulk mail. Instants in µs, -1 is never.

    `first_at` is the first thing that was ever said of any contact: before it, silence means nothing.
    """

    first_at: int = -1
    personal: list[Touch] = []
    bulk: list[int] = []
    last_by: dict[str, int] = {}  # who on the vendor's side last had a contact that counts, and when
    executive_at: int = -1  # the last that counts with an executive sponsor, as the roles were known
    reviews: Reviews = field(default_factory=Reviews)

    def note(self, at: int) -> None:
        """Something was said about contacts at `at`."""
        self.first_at = at if self.first_at < 0 else min(self.first_at, at)

    def hold(self, touch: Touch, by: str) -> None:
        """A personal contact was held."""
        insort(self.personal, touch, key=lambda known: known.at)
        del self.personal[:-KEPT_TOUCHES]
        if not touch.qualifies:
            return
        if touch.executive:
            self.executive_at = max(self.executive_at, touch.at)
        if by:
            self.last_by[by] = max(self.last_by.get(by, -1), touch.at)
            while len(self.last_by) > KEPT_NAMES:
                del self.last_by[min(self.last_by, key=lambda name: (self.last_by[name], name))]

    def send(self, at: int) -> None:
        """Bulk mail went out."""
        insort(self.bulk, at)
        del self.bulk[:-KEPT_BULK]

    def latest(self, count: int, *, with_bulk: bool = False) -> int:
        """When the `count`-th latest contact that counts was held, -1 where there were fewer. `count` is small."""
        found = [touch.at for touch in self.personal if touch.qualifies]
        if with_bulk:
            found = sorted([*found, *self.bulk])
        return found[-count] if len(found) >= count else -1

    def between(self, after: int, until: int) -> bool:
        """Whether a personal contact that counts was held after `after` and no later than `until`."""
        return any(after < touch.at <= until and touch.qualifies for touch in self.personal)

    def unanswered(self, now: int, days: int) -> list[Touch]:
        """Outbound personal contacts of the trailing `days` that stayed unanswered, since somebody was last reached."""
        since = max((touch.at for touch in self.personal if touch.reached), default=-1)
        since = max(since, now - days * DAY_US)
        return [t for t in self.personal if since < t.at <= now and t.outbound and t.answered == 0]


def hold_review(reviews: Reviews, review: Review) -> None:
    """A business review was held."""
    insort(reviews.held, review, key=lambda known: known.at)
    del reviews.held[:-KEPT_REVIEWS]


def plan_review(reviews: Reviews, at: int, due_day: int, event_id: str) -> None:
    """A business review was planned for a day, or planned anew."""
    if at >= reviews.planned_at:
        reviews.planned_at, reviews.due_day, reviews.plan_event = at, due_day, event_id


def miss_review(reviews: Reviews, at: int, event_id: str) -> None:
    """A business review did not take place."""
    if at >= reviews.missed_at:
        reviews.missed_at, reviews.missed_event = at, event_id


class Miss(Struct):
    """A business review that went wrong, from which instant (µs) on, how (`missed`, `not_held`, `no_sponsor`), and the event."""

    at: int
    how: str
    event_id: str


def misses(reviews: Reviews) -> list[Miss]:
    """What went wrong with business reviews, or will have by its instant unless something happens before. By time.

    A planned one that was not held has been missed when its day ends; one without the sponsor counts when its day ends,
    for each participant is an event of its own.
    """
    found: list[Miss] = []
    if reviews.missed_at >= 0:
        found.append(Miss(reviews.missed_at, "missed", reviews.missed_event))
    if reviews.due_day >= 0:
        end = max(midnight(reviews.due_day + 1), reviews.planned_at)
        since = min(reviews.planned_at, midnight(reviews.due_day))
        if not any(since <= review.at < end for review in reviews.held):
            found.append(Miss(end, "not_held", reviews.plan_event))
    joined = {day_of(review.at) for review in reviews.held if review.sponsor == 1}
    alone = [review for review in reviews.held if review.sponsor == 0 and day_of(review.at) not in joined]
    found += [Miss(midnight(day_of(review.at) + 1), "no_sponsor", review.event_id) for review in alone]
    return sorted(found, key=lambda miss: (miss.at, miss.how))


def made_up_for(reviews: Reviews, miss: Miss) -> bool:
    """Whether a later business review was held, without doubt about the sponsor."""
    return any(review.at >= miss.at and review.sponsor != 0 for review in reviews.held)
