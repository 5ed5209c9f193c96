"""What was said to every account at once, as one partition knows it. Kept in the partition's own record.

Released features, the portfolio's measures, and sources that stopped. An instant counts from the one at which the
partition was told, where that was later: nothing that is judged already is looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from schemas.events.accounts import PortfolioMeasured
from services.signals.core.days import DAY_US, date_of, day_of, day_of_date, midnight
from services.signals.core.portfolio import DAYS_KEPT, SUNDAYS_KEPT, Benchmarks, Measure, kept
from services.signals.core.sources import FED_DAYS, GONE_US, MAX_HOLES, Hole

MAX_RELEASES = 40
MAX_BENCHMARKS = 8
MAX_FEEDS = 63
"""Sources and topics that are told apart; further ones are never stale."""
SUNDAY = 6


class Release(Struct, array_like=True):
    """A feature that was released to every account, at `at` (µs)."""

    feature: str
    at: int
    advanced: bool = False


class World(Struct, array_like=True):
    """Releases by time, the latest `MAX_RELEASES`. A feature is released once: the earliest time counts.

    `measures` by day, the latest `DAYS_KEPT` and the Sundays of `SUNDAYS_KEPT` weeks; `benchmarks` follow them weekly, by
    the instant (µs) from which they are known, the latest `MAX_BENCHMARKS`. `feeds` are the sources by number, as
    "topic/source", `holes` the times in which one was stale.
    """

    releases: list[Release] = []
    measures: dict[int, Measure] = {}
    benchmarks: list[tuple[int, Benchmarks]] = []
    feeds: list[str] = []
    holes: list[Hole] = []

    def release(self, feature: str, at: int, *, advanced: bool) -> bool:
        """Take in a release. True when it is news."""
        known = next((entry for entry in self.releases if entry.feature == feature), None)
        if known is not None:
            if at >= known.at:
                return False
            self.releases.remove(known)
        self.releases.append(Release(feature, at, advanced))
        self.releases.sort(key=lambda entry: (entry.at, entry.feature))
        del self.releases[:-MAX_RELEASES]
        return True

    # -- the portfolio --------------------------------------------------------------------------------------------

    def measured(self, told: PortfolioMeasured, at: int) -> tuple[bool, bool]:
        """Take in a day's measure, known from `at` (µs) on. Whether it is news, and whether the benchmarks changed."""
        day = day_of_date(told.day)
        if day in self.measures or day > day_of(at) or day <= max(self.measures, default=day) - DAYS_KEPT:
            return False, False
        late = [self.feed(source.topic, source.source) for source in told.late_sources or ()]
        self.measures[day] = kept(told, max(at, midnight(day + 1)), late)
        newest = max(self.measures)
        for old in sorted(self.measures)[:-DAYS_KEPT]:
            if not _is_sunday(old) or old <= newest - 7 * SUNDAYS_KEPT:
                del self.measures[old]
        return True, day == newest and self._benchmark(told, at)

    def _benchmark(self, told: PortfolioMeasured, at: int) -> bool:
        """Follow on Sundays; what was not known before is taken at once."""
        before = self.benchmarks[-1][1] if self.benchmarks else Benchmarks()
        growth = told.growth_mean_by_segment or {}
        if _is_sunday(day_of_date(told.day)):
            now = Benchmarks(told.nps_mean, told.csat_mean, growth)
        else:
            now = Benchmarks(
                told.nps_mean if before.nps_mean is None else before.nps_mean,
                told.csat_mean if before.csat_mean is None else before.csat_mean,
                {**growth, **before.growth},
            )
        if now == before:
            return False
        self.benchmarks.append((at, now))
        del self.benchmarks[:-MAX_BENCHMARKS]
        return True

    def benchmark(self, now: int) -> Benchmarks:
        """What accounts are compared with at an instant, by what was known then."""
        return next((found for at, found in reversed(self.benchmarks) if at <= now), Benchmarks())

    def measure(self, now: int) -> Measure | None:
        """The measure of the day before the one that holds `now` (µs), if it is known by then."""
        return self.measure_of(day_of(now) - 1, now)

    def measure_of(self, day: int, now: int) -> Measure | None:
        """The measure of a day, if it is kept and known by `now` (µs)."""
        found = self.measures.get(day)
        return found if found is not None and found.at <= now else None

    def late(self, fed: Mapping[int, int], topics: Iterable[str], now: int) -> bool:
        """Whether a source that feeds an account on one of these topics was late as yesterday ended, known by `now`."""
        measure = self.measure(now)
        return measure is not None and any(
            fed.get(feed, -1) >= day_of(now) - FED_DAYS and self.topic(feed) in topics for feed in measure.late
        )

    # -- sources --------------------------------------------------------------------------------------------------

    def feed(self, topic: str, source: str) -> int:
        """The number of a source on a topic."""
        name = f"{topic}/{source}"
        if name in self.feeds:
            return self.feeds.index(name)
        if len(self.feeds) >= MAX_FEEDS:
            return MAX_FEEDS
        self.feeds.append(name)
        return len(self.feeds) - 1

    def topic(self, feed: int) -> str:
        """The topic of a feed by its number, empty for one that is not told apart."""
        return self.feeds[feed].partition("/")[0] if feed < len(self.feeds) else ""

    def stale(self, topic: str, source: str, since: int, at: int) -> bool:
        """A source stopped at `since`, which is known from `at` on (µs). True when it is news."""
        number = self.feed(topic, source)
        if number == MAX_FEEDS or any(hole.feed == number and hole.fresh < 0 for hole in self.holes):
            return False
        self.holes = [hole for hole in self.holes if hole.fresh < 0 or hole.fresh > at - 2 * GONE_US][1 - MAX_HOLES :]
        self.holes.append(Hole(number, min(since, at), at))
        return True

    def fresh(self, topic: str, source: str, at: int) -> bool:
        """A source is back at `at` (µs). True when it is news."""
        number = self.feed(topic, source)
        for hole in self.holes:
            if hole.feed == number and hole.fresh < 0:
                hole.fresh = max(at, hole.at)
                return True
        return False

    def open_holes(self) -> list[Hole]:
        """The sources that are stale now, by since when."""
        return sorted((hole for hole in self.holes if hole.fresh < 0), key=lambda hole: (hole.since, hole.feed))

    def held(self, fed: Mapping[int, int], first_event: int, topics: Iterable[str], days: int, now: int) -> bool:
        """Whether a window of `days` days that ends at `now` (µs) overlaps a hole in what feeds an account.

        `fed` is the last day on which each feed sent something of the account, `first_event` its first event (µs).
        A hole counts to the midnight after it, and after its window.
        """
        return any(
            hole.at <= now < self._over(hole, days)
            for hole in self._holes_of(fed, topics)
            if first_event < (now if hole.fresh < 0 else hole.fresh)
        )

    @staticmethod
    def _over(hole: Hole, days: int) -> int:
        if hole.fresh < 0:
            return hole.at + GONE_US
        return midnight(day_of(hole.fresh + days * DAY_US - 1) + 1)

    def _holes_of(self, fed: Mapping[int, int], topics: Iterable[str]) -> list[Hole]:
        return [
            hole
            for hole in self.holes
            if fed.get(hole.feed, -1) >= day_of(hole.since) - FED_DAYS and self.topic(hole.feed) in topics
        ]

    def fed_again(self, fed: Mapping[int, int], topic: str, now: int) -> int:
        """When a stale source of this topic last came back to an account by `now` (µs), 0 if none ever did."""
        return max(
            (hole.fresh for hole in self._holes_of(fed, (topic,)) if hole.at <= now and 0 <= hole.fresh <= now),
            default=0,
        )


def _is_sunday(day: int) -> bool:
    return date_of(day).weekday() == SUNDAY
