"""Which features, teams and core users an account has, by the day of their use, in bounded form.

Days of use are bits: of the 64 days that end with a given day, bit 63 is that day and bit 63 − n is n days before. What
is new waits in the account's own record (`Noted`) and goes to the dossier (`Breadth`) together, every two months or so, so
that a day of use writes no record of its own. Both are read together: see `features_used` and its siblings.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from services.signals.core.days import HOUR_US, week_of

KEPT_DAYS: Final = 64
LAST_BIT: Final = KEPT_DAYS - 1
WAITING_DAYS: Final = 63
"""From the first day that waits, the days whose use may wait with it."""
WAITING_FEATURES: Final = 16
WAITING_USERS: Final = 8
MAX_FEATURES: Final = 300
"""Features that are told apart: beyond it the one that has been unused for longest is forgotten."""
MAX_USERS: Final = 50
"""With more core users than this within nine weeks an account is crowded: no single one carries it."""
TEAMS_INLINE: Final = 16
MAX_TEAMS: Final = 200
"""Teams that are told apart; a further one is counted in `Hot.over_cap` and not noted."""
MAX_OUTAGES: Final = 60
ONE_OUTAGE_US: Final = HOUR_US
"""Sightings closer together than this are of one outage."""
OUTAGES_KEPT_DAYS: Final = 31


class Feature(Struct, array_like=True):
    """A feature that was used: the last day noted, and on which days it was used as core or advanced, and as advanced."""

    last: int = -1
    days: int = 0
    advanced: int = 0


class Noted(Struct, array_like=True):
    """What was used and waits: days of use from `base` on, bit n for `base` + n. A plain feature's days are not kept.

    `users` are those of core features, from the day `users_since` on. `teams` are the first and the last day of use of
    the latest few; with `more_teams` others are in the dossier. `trial_at` is the first use outside production,
    `outage_at` the latest sighting of an outage (µs, -1 for never).
    """

    base: int = 0
    features: dict[str, int] = {}
    advanced: dict[str, int] = {}
    users: dict[str, int] = {}
    users_since: int = 0
    teams: dict[str, tuple[int, int]] = {}
    more_teams: bool = False
    trial_at: int = -1
    outage_at: int = -1


class Breadth(Struct, array_like=True):
    """What no longer waits: days of use from `origin` on, bit n for `origin` + n. Outages are (first, last) sighting in µs."""

    origin: int = 0
    features: dict[str, Feature] = {}
    users: dict[str, int] = {}
    teams: dict[str, tuple[int, int]] = {}
    outages: list[tuple[int, int]] = []

    def take_in(self, noted: Noted, today: int) -> int:
        """Take in what waits, with the 64 days ending today. How many features were forgotten for want of room."""
        self._move(today)
        shift = noted.base - self.origin
        for name, days in noted.features.items():
            feature = self.features.setdefault(name, Feature())
            feature.days |= _moved(days, shift)
            feature.advanced |= _moved(noted.advanced.get(name, 0), shift)
            feature.last = max(feature.last, noted.base + max(0, days.bit_length() - 1))
        for user, days in noted.users.items():
            self.users[user] = self.users.get(user, 0) | _moved(days, shift)
        noted.features, noted.advanced, noted.users = {}, {}, {}
        if len(self.users) > MAX_USERS:
            self.users, noted.users_since = {}, today + KEPT_DAYS
        return self._forget()

    def use_late(self, name: str, day: int, *, advanced: bool) -> int:
        """Note a valued use on a day before what waits; nothing may wait. How many features were forgotten."""
        feature = self.features.setdefault(name, Feature())
        feature.last = max(feature.last, day)
        if day >= self.origin:
            feature.days |= 1 << (day - self.origin)
            feature.advanced |= advanced << (day - self.origin)
        return self._forget()

    def _move(self, today: int) -> None:
        step = today - LAST_BIT - self.origin
        if step > 0:
            self.origin += step
            for feature in self.features.values():
                feature.days >>= step
                feature.advanced >>= step
            self.users = {user: left for user, days in self.users.items() if (left := days >> step)}

    def _forget(self) -> int:
        over = len(self.features) - MAX_FEATURES
        if over > 0:
            for name in sorted(self.features, key=lambda name: (self.features[name].last, name))[:over]:
                del self.features[name]
        return max(0, over)

    def see_outage(self, at: int, clock: int) -> None:
        """Note that an outage was seen. Whatever the order in which sightings come, the same outages result."""
        first = last = at
        apart: list[tuple[int, int]] = []
        for outage in self.outages:
            if outage[0] - ONE_OUTAGE_US < at < outage[1] + ONE_OUTAGE_US:
                first, last = min(first, outage[0]), max(last, outage[1])
            else:
                apart.append(outage)
        since = clock - OUTAGES_KEPT_DAYS * 24 * HOUR_US
        self.outages = sorted(outage for outage in [*apart, (first, last)] if outage[1] > since)[-MAX_OUTAGES:]


def _moved(days: int, by: int) -> int:
    return days << by if by >= 0 else days >> -by


def features_used(noted: Noted, breadth: Breadth, today: int, *, advanced: bool = False) -> dict[str, int]:
    """By feature, the days of its use as core or advanced (or as advanced) of the 64 that end today; bit 63 is today."""
    origin = today - LAST_BIT
    stored, waits = breadth.origin - origin, noted.base - origin
    waiting = noted.advanced if advanced else noted.features
    found = {name: _moved(days, waits) for name, days in waiting.items() if days}
    for name, feature in breadth.features.items():
        if days := feature.advanced if advanced else feature.days:
            found[name] = found.get(name, 0) | _moved(days, stored)
    return found


def core_users(noted: Noted, breadth: Breadth, today: int) -> dict[str, int]:
    """By user, the days on which they used a core feature, of the 64 that end today; bit 63 is today."""
    origin = today - LAST_BIT
    stored, waits = breadth.origin - origin, noted.base - origin
    found = {user: _moved(days, waits) for user, days in noted.users.items()}
    for user, days in breadth.users.items():
        found[user] = found.get(user, 0) | _moved(days, stored)
    return found


def days_within(days: int, newest: int, oldest: int) -> int:
    """Those of the days of use (bit 63 is today) that are `newest` to `oldest` days ago; below 0 is yet to come."""
    newest, oldest = max(newest, 0), min(oldest, LAST_BIT)
    return (days >> (LAST_BIT - oldest)) & ((1 << (oldest - newest + 1)) - 1) if oldest >= newest else 0


def mask_within(newest: int, oldest: int) -> int:
    """As `days_within`, of many: days of use and this are those within, left where they stand."""
    newest, oldest = max(newest, 0), min(oldest, LAST_BIT)
    return ((1 << (oldest - newest + 1)) - 1) << (LAST_BIT - oldest) if oldest >= newest else 0


def age_of_last(days: int) -> int:
    """How many days ago the latest day of use (bit 63 is today) was; 64 where there is none."""
    return KEPT_DAYS - days.bit_length()


def weeks_used(days: int, today: int, weeks: int) -> int:
    """In how many of the last ISO weeks, up to nine with the running one, there was a day of use (bit 63 is today)."""
    monday = today - (today + 3) % 7
    newest, found = 0, 0
    for oldest in range(today - monday, today - monday + 7 * weeks, 7):
        found += days_within(days, newest, oldest) > 0
        newest = oldest + 1
    return found


def new_week(days: int, base: int, day: int) -> bool:
    """Whether none of the days of use (bit n is `base` + n) is in the ISO week of `day`."""
    first = 7 * week_of(day) - 3
    return not (_moved(days, base - first) & 0b1111111)


def teams_known(noted: Noted, breadth: Breadth) -> dict[str, tuple[int, int]]:
    """Every team with the first and the last day of its use."""
    return {**breadth.teams, **noted.teams}


def was_used(name: str, noted: Noted, breadth: Breadth) -> bool:
    """Whether a feature was ever used in production."""
    return name in noted.features or name in breadth.features
