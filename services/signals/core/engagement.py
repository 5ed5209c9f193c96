"""Surveys, touchpoints, mail, training, community and advocacy, in bounded form."""

from __future__ import annotations

from msgspec import Struct, field

from services.signals.core.advocacy import Advocacy, first_leaving, sum_days
from services.signals.core.days import DAY_US, NEVER, day_of
from services.signals.core.mail import Mail
from services.signals.core.surveys import Surveys
from services.signals.core.touches import Touches

MAX_COMPLAINTS = 20
MAX_AWAY = 100


class Complaint(Struct, array_like=True):
    """A complaint about the team, the product or something else, at `at` (µs)."""

    at: int
    about: str
    user: str
    event_id: str


class Announcement(Struct, array_like=True):
    """The latest word that the customer evaluates alternatives, at `at` (µs)."""

    at: int = -1
    rival: str = ""
    event_id: str = ""


class Away(Struct, array_like=True):
    """A contact is out of office from `since` (µs) until the day `until` begins; the latest word on each counts."""

    since: int
    until: int


class Engagement(Struct, array_like=True):
    """What was said between vendor and account. Instants in µs, -1 is never."""

    touches: Touches = field(default_factory=Touches)
    mail: Mail = field(default_factory=Mail)
    advocacy: Advocacy = field(default_factory=Advocacy)
    complaints: list[Complaint] = []  # by time, the latest `MAX_COMPLAINTS`
    evaluation: Announcement = field(default_factory=Announcement)
    away: dict[str, Away] = {}  # by contact id
    surveys: Surveys = field(default_factory=Surveys)

    def away_at(self, contact: str, at: int) -> bool:
        """Whether a contact was out of office at an instant, as far as the latest word on it says."""
        known = self.away.get(contact)
        return known is not None and known.since <= at and day_of(at) < known.until


def mail_response(engagement: Engagement, now: int, days: int = 90) -> tuple[tuple[int, int, int, int], int]:
    """Mails opened, clicked, bounced and unsubscribed over the last `days` days (up to 92) including today.

    With the instant (µs) at which time alone changes them next, NEVER where nothing is in the window.
    """
    today = day_of(now)
    return engagement.mail.sums(today, days), first_leaving(engagement.mail.days, today, days)


def community_activity(engagement: Engagement, now: int, days: int = 90) -> tuple[int, int]:
    """Community activities over the last `days` days (up to 100) including today; until when it rests, as `mail_response`."""
    known, today = engagement.advocacy.community, day_of(now)
    return sum_days(known, today, days), first_leaving(known, today, days)


def trainings_attended(engagement: Engagement, now: int, days: int = 180) -> tuple[int, int]:
    """Trainings, counted per participant, over the last `days` days (up to 200) including today; until when it rests."""
    known, today = engagement.advocacy.training, day_of(now)
    return sum_days(known, today, days), first_leaving(known, today, days)


def advocacy_acts(engagement: Engagement, now: int, days: int = 365) -> tuple[int, int]:
    """References, reviews and referrals given in the trailing `days` × 24 h (of each the latest few); until when it rests."""
    acts = engagement.advocacy.acts(now, days)
    return len(acts), min(acts) + days * DAY_US if acts else NEVER


def last_executive_contact(engagement: Engagement) -> int:
    """When a contact that counts was last held with an executive sponsor (µs, as the roles were known then), -1 for never."""
    return engagement.touches.executive_at
