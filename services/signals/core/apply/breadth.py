"""Features, teams and core users of a use into state: called for what was not noted of that day yet, so rarely."""

from __future__ import annotations

from schemas.events.usage import FeatureUsed
from services.signals.core.breadth import (
    MAX_TEAMS,
    TEAMS_INLINE,
    WAITING_DAYS,
    WAITING_FEATURES,
    WAITING_USERS,
    new_week,
)
from services.signals.core.days import day_of
from services.signals.core.signal import Fact
from services.signals.core.state import Account

IGNORED = "adoption.release_ignored"
FOUR_WEEKS = 28
LATE_DAYS = 7
"""Uses that are late by up to so many days wait with the others."""


def note_feature(account: Account, data: FeatureUsed) -> int:
    """Note a feature that is neither core nor advanced, and does not wait yet. The facts that changed."""
    hot = account.hot
    features = hot.noted.features
    if len(features) >= WAITING_FEATURES:
        _store(account, day_of(hot.clock))
    if not hot.noted.features:
        hot.noted.base = day_of(hot.clock) - LATE_DAYS
    hot.noted.features[data.feature] = 0
    return _ignored(account, data.feature)


def note_use(account: Account, data: FeatureUsed, day: int) -> int:
    """Note the use of a core or advanced feature, and who uses a core feature. The facts that changed."""
    hot = account.hot
    noted = hot.noted
    features = noted.features
    name, user = data.feature, data.user if data.core else None
    facts = _ignored(account, name) if hot.user_episodes and name not in features else 0
    offset = day - noted.base
    if not (
        features
        and 0 <= offset < WAITING_DAYS
        and (name in features or len(features) < WAITING_FEATURES)
        and (user is None or user in noted.users or len(noted.users) < WAITING_USERS)
    ):
        today = day_of(hot.clock)
        if features:
            _store(account, today)
        noted.base = today - LATE_DAYS
        offset = day - noted.base
        if offset < 0:
            return facts | _note_late(account, data, day, user)
    bit = 1 << offset
    noted.features[name] = noted.features.get(name, 0) | bit
    if data.advanced:
        advanced = noted.advanced.get(name, 0)
        if new_week(advanced, noted.base, day):
            facts |= Fact.ADVANCED
        noted.advanced[name] = advanced | bit
    if user is not None and day >= noted.users_since:
        noted.users[user] = noted.users.get(user, 0) | bit
    return facts | Fact.BREADTH


def _note_late(account: Account, data: FeatureUsed, day: int, user: str | None) -> int:
    """Note a use that is too late to wait with others, while none waits."""
    noted, breadth = account.hot.noted, account.change_dossier().breadth
    breadth.take_in(noted, day_of(account.hot.clock))
    account.hot.over_cap += breadth.use_late(data.feature, day, advanced=data.advanced)
    if user is not None and noted.users_since <= day >= breadth.origin:
        breadth.users[user] = breadth.users.get(user, 0) | 1 << (day - breadth.origin)
    return Fact.BREADTH | Fact.ADVANCED


def _ignored(account: Account, name: str) -> int:
    """Whether this is a released feature that the account had not tried, as facts."""
    open_ = account.hot.user_episodes.values()
    return Fact.RELEASES if any(entry.about == name and entry.signal == IGNORED for entry in open_) else 0


def _store(account: Account, today: int) -> None:
    """What waits goes to the dossier."""
    account.hot.over_cap += account.change_dossier().breadth.take_in(account.hot.noted, today)


def note_team(account: Account, team: str, day: int) -> int:
    """Note a team's use on a day that is not between its first and its last day yet. The facts that changed."""
    noted = account.hot.noted
    known = noted.teams.get(team)
    if known is None and noted.more_teams:
        known = account.dossier.breadth.teams.get(team)
    if known is None:
        if len(noted.teams) >= TEAMS_INLINE and len(account.dossier.breadth.teams) >= MAX_TEAMS:
            account.hot.over_cap += 1
            return 0
        facts, first, last = Fact.TEAM, day, day
    else:
        first, last = known
        unused = day_of(account.hot.clock) - last
        facts = Fact.TEAM if day < first or unused >= FOUR_WEEKS else 0
        first, last = min(first, day), max(last, day)
    noted.teams[team] = (first, last)
    if len(noted.teams) > TEAMS_INLINE:
        oldest = min(noted.teams, key=lambda name: (noted.teams[name][1], name))
        account.change_dossier().breadth.teams[oldest] = noted.teams.pop(oldest)
        noted.more_teams = True
    return facts | Fact.BREADTH
