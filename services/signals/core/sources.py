"""When a source of events has gone quiet: each learns its own cadence from when it used to send.

A source that sends nothing to anybody is not a silent customer. What is usual is told by the same hour of the week in
the weeks before, so that nights and weekends are nobody's fault; how far off that was lately is the margin. Few accounts
going quiet together are customers, so a source that feeds only a few is never called stale.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from operator import sub
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from schemas.envelope import from_us
from schemas.events.accounts import SourceState
from services.signals.core.days import DAY_US, HOUR_US, NEVER

WEEK: Final = 168
WEEKS: Final = 4
KEPT_HOURS: Final = 5 * WEEK
MIN_HOURS: Final = 2 * WEEK
"""How long a source must have been known."""
MIN_DAYS: Final = 10
"""On how many of the last 28 days it must have sent something: sparser ones have no cadence to speak of."""
MIN_BUSY: Final = 40
"""In how many hours of the last 28 days."""
SPARSE: Final = 150
"""Fewer busy hours than these in 28 days have no firm rhythm: all gaps count, whenever they began."""
MIN_ACCOUNTS: Final = 10
"""How many accounts it must have fed in the last 28 days."""
MARGIN: Final = 42
"""Hours past the usual gap, at least."""
LATE: Final = 6
"""Hours past the usual gap after which a source is late: too little to say so, enough to judge nothing by its silence."""
SHORT_GAP: Final = 6
BEFORE: Final = 6
AFTER: Final = 12
"""Hours around an hour of the week in which a gap that began counts as one of that hour."""
ACCOUNT_DAYS: Final = 28
FED_DAYS: Final = 28
"""An account is fed by a source that sent something of it in so many days before the source stopped."""
GONE_US: Final = 90 * DAY_US
"""A source that was stale for so long is gone, and holds nothing any more."""
MAX_FEEDS: Final = 256
"""Sources and topics that are watched; further ones are not."""


class Told(NamedTuple):
    """A source went stale, or is fresh again: since when (µs), and when that was known (µs)."""

    what: Literal["stale", "fresh"]
    source: str
    topic: str
    since: int
    at: int


class Feed(Struct):
    """What is known of one source on one topic.

    `hours` since 1970 in which something came, of the last five weeks; `first` is the first of all, `last` the latest
    arrival in µs. `accounts` are a few of those it feeds, with the hour in which each was last fed. `usual` and
    `limit` are how long after `last` it is late, and stale, in µs, NEVER while its cadence is unknown.
    """

    first: int
    last: int
    hours: list[int]
    accounts: dict[str, int] = {}
    stale: bool = False
    limit: int = NEVER
    usual: int = NEVER
    margin: int = MARGIN
    margin_day: int = -1

    def saw(self, account: str, at: int) -> bool:
        """Something came at `at` (µs), which is not before the last arrival. True in a new hour: the limit is another."""
        hour = at // HOUR_US
        self.last = at
        fed = self.accounts
        if account in fed or len(fed) < MIN_ACCOUNTS:
            fed[account] = hour
        if hour == self.hours[-1]:
            return False
        self.hours.append(hour)
        if len(fed) == MIN_ACCOUNTS and account not in fed:
            longest = min(fed, key=fed.__getitem__)
            if fed[longest] < hour - ACCOUNT_DAYS * 24:
                del fed[longest]
                fed[account] = hour
        if self.hours[0] < hour - KEPT_HOURS - WEEK:
            del self.hours[: bisect_left(self.hours, hour - KEPT_HOURS)]
        usual, limit = self._limits(hour)
        self.usual, self.limit = min(usual * HOUR_US, NEVER), min(limit * HOUR_US, NEVER)
        return True

    def _limits(self, hour: int) -> tuple[int, int]:
        """After how many hours without anything the source is late, and stale."""
        recent = self.hours[bisect_left(self.hours, hour - ACCOUNT_DAYS * 24) :]
        known = min(self.accounts.values(), default=0) >= hour - ACCOUNT_DAYS * 24
        if (
            hour - self.first < MIN_HOURS
            or len(self.accounts) < MIN_ACCOUNTS
            or not known
            or len(recent) < MIN_BUSY
            or len({one // 24 for one in recent}) < MIN_DAYS
        ):
            return NEVER, NEVER
        if hour // 24 != self.margin_day:
            self.margin, self.margin_day = self._margin(), hour // 24
        usual = self._usual(hour, range(-WEEKS, 0))
        limit = usual + self.margin
        if len(recent) < SPARSE:
            limit = max(limit, sorted(after - before for before, after in pairwise(recent))[-2] * 3 // 2)
        return usual + LATE, limit

    def _usual(self, hour: int, weeks: range) -> int:
        """How long it usually is from about this hour of the week to the next arrival, in hours, told by other weeks.

        In each the longest gap that began near it; of these the longest but one, where there are three: one week may
        have had a holiday, or an outage.
        """
        hours, gaps = self.hours, []
        earliest, latest = max(self.first, hours[0]), hours[-1]
        for week in weeks:
            start = hour + week * WEEK
            if week and earliest <= start < latest:
                place = bisect_right(hours, start)
                first, last = bisect_left(hours, start - BEFORE), bisect_right(hours, start + AFTER)
                near = map(sub, hours[first + 1 : last + 1], hours[first:last])
                longest = max(hours[place] - start, max(near, default=0))
                gaps.append(longest)
        gaps.sort()
        return gaps[-2] if len(gaps) > 2 else gaps[-1] if gaps else WEEK

    def _margin(self) -> int:
        """Three times what gaps of the last weeks exceeded the usual by, the worst but one; and most of two days."""
        hours = self.hours
        excess = [0, 0]
        for before, after in pairwise(hours):
            if after - before > SHORT_GAP:
                other = range(-WEEKS, WEEKS + 1)
                excess.append(after - before - self._usual(before, other))
        excess.sort()
        return max(MARGIN, 3 * excess[-2])


class SourceWatch:
    """Every source on every topic. `saw` and `until` take instants that never go back."""

    def __init__(self, feeds: dict[tuple[str, str], Feed] | None = None) -> None:
        """`feeds` by (source, topic), as a watch before this one left them."""
        self.feeds = {} if feeds is None else feeds
        self._next = 0

    def saw(self, source: str, topic: str, account: str, at: int) -> Told | None:
        """Something came from a source at `at` (µs): what that changes. Ask `until(at)` first."""
        feed = self.feeds.get((source, topic))
        if feed is None:
            if len(self.feeds) < MAX_FEEDS:
                hour = at // HOUR_US
                self.feeds[source, topic] = Feed(hour, at, [hour], {account: hour})
            return None
        if at < feed.last:
            at = feed.last
        if feed.saw(account, at):
            self._next = min(self._next, feed.last + feed.limit)
        if feed.stale:
            feed.stale = False
            return Told("fresh", source, topic, at, at)
        return None

    def until(self, now: int) -> Sequence[Told]:
        """What has gone stale up to `now` (µs), in order of time."""
        if now < self._next:
            return ()
        found = []
        following = NEVER
        for (source, topic), feed in self.feeds.items():
            due = feed.last + feed.limit
            if feed.stale or due >= NEVER:
                continue
            if due <= now:
                feed.stale = True
                found.append(Told("stale", source, topic, feed.last, due))
            else:
                following = min(following, due)
        self._next = following
        return sorted(found, key=lambda told: (told.at, told.source, told.topic))

    def late(self, now: int) -> list[SourceState]:
        """The sources that should have sent something by `now` (µs), stale or not, by source and topic."""
        return [
            SourceState(source=source, topic=topic, since=from_us(feed.last))
            for (source, topic), feed in sorted(self.feeds.items())
            if feed.last + feed.usual <= now < feed.last + GONE_US
        ]


# --- as a partition keeps it ----------------------------------------------------------------------------------------

MAX_HOLES: Final = 64


class Hole(Struct, array_like=True):
    """A time in which a feed (by number) sent nothing to anybody: since when, known from when, over when (-1: not yet)."""

    feed: int
    since: int
    at: int
    fresh: int = -1
