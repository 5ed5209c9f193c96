"""Topic `usage` into state. This is the hot path: nearly every event comes through here."""

from __future__ import annotations

from schemas.envelope import Event
from schemas.events.usage import ErrorSeen, FeatureUsed, LoggedIn, PageViewed, ValueReached
from services.signals.core.activity import EARLY_US, KEPT_VIEWS
from services.signals.core.apply.breadth import note_feature, note_team, note_use
from services.signals.core.apply.handler import Handler, Records, note_value
from services.signals.core.days import DAY_US
from services.signals.core.signal import Fact
from services.signals.core.state import Account
from services.signals.core.windows import CORE, ERRORS, USAGE

PRODUCTION = "production"
OUTAGE = "outage"


def _used(account: Account, user_id: str | None, at: int, records: Records) -> int:
    """A usage event in production: the account was used, and its user was active."""
    hot = account.hot
    facts = 0
    if at > hot.last_usage:
        hot.last_usage = at
        facts = Fact.LAST_USAGE
    day = at // DAY_US
    if len(hot.usage_days) < 5 and day not in hot.usage_days:
        hot.usage_days.append(day)
        facts = Fact.LAST_USAGE
    if user_id is not None:
        before = hot.users_active.get(user_id)
        if before is None or day > before:
            before = records.active(account, user_id, day)
            if day > before and hot.activity.move(before, day):
                facts |= Fact.ACTIVE
    return facts


def feature_used(account: Account, event: Event, at: int, records: Records) -> int:
    """Counts in the windows when it happened in production; elsewhere it is a trial and says nothing."""
    data: FeatureUsed = event.data
    noted = account.hot.noted
    if data.environment is not None and data.environment != PRODUCTION:
        if noted.trial_at < 0 or at < noted.trial_at:
            noted.trial_at = at
        return 0
    facts = _used(account, data.user, at, records) | Fact.USAGE
    day, windows = at // DAY_US, account.windows
    days = noted.features.get(data.feature)
    if data.core or data.advanced:
        # What is noted of this day already is nearly every use: it costs a look-up.
        bit = day - noted.base
        if (
            days is None
            or bit < 0
            or not days >> bit & 1
            or (data.advanced and not noted.advanced.get(data.feature, 0) >> bit & 1)
            or (
                data.core
                and data.user is not None
                and not noted.users.get(data.user, 0) >> bit & 1
                and day >= noted.users_since
            )
        ):
            facts |= note_use(account, data, day)
    elif days is None:
        facts |= note_feature(account, data)
    team = data.team
    if team is not None:
        known = noted.teams.get(team)
        if known is None or not known[0] <= day <= known[1]:
            facts |= note_team(account, team, day)
    if day == windows.today:
        now = windows.now
        now[USAGE] += data.count
        if data.core:
            now[CORE] += data.count
    else:
        windows.add(USAGE, day, data.count)
        if data.core:
            windows.add(CORE, day, data.count)
        facts |= Fact.LATE_USAGE
    changed = account.hot.changed_days
    if day not in changed:
        changed.append(day)
    return facts


def page_viewed(account: Account, event: Event, at: int, records: Records) -> int:
    """Counts for the user: in all, and in the week from the first login."""
    data: PageViewed = event.data
    facts = _used(account, data.user, at, records)
    user = records.user(account, data.user)
    user.views += 1
    if user.first_login >= 0 and user.first_login <= at < user.first_login + EARLY_US:
        user.early_views += 1
    viewed = user.views_at
    if viewed and at < viewed[-1]:
        viewed.append(at)
        viewed.sort()
    else:
        viewed.append(at)
    if len(viewed) > KEPT_VIEWS:
        del viewed[0]
    records.changed(account, data.user)
    return facts | Fact.USER


def logged_in(account: Account, event: Event, at: int, records: Records) -> int:
    """Counts for the user; the earliest login starts the user's first week."""
    data: LoggedIn = event.data
    facts = _used(account, data.user, at, records) | Fact.USER
    user = records.user(account, data.user)
    user.logins += 1
    if user.first_login < 0 or at < user.first_login:
        user.first_login = at
        user.login_event = event.id
        user.early_views = sum(at <= viewed < at + EARLY_US for viewed in user.views_at)
        facts |= Fact.LOGIN
    records.changed(account, data.user)
    return facts


def error_seen(account: Account, event: Event, at: int, records: Records) -> int:
    """Counts by day, an outage by its time as well. It makes nobody active."""
    data: ErrorSeen = event.data
    if data.kind == OUTAGE:
        account.hot.noted.outage_at = max(account.hot.noted.outage_at, at)
        account.change_dossier().breadth.see_outage(at, account.hot.clock)
    account.windows.add(ERRORS, at // DAY_US, 1)
    return Fact.ERRORS


def value_reached(account: Account, event: Event, at: int, records: Records) -> int:
    """Value was reached at least once; what comes after the first time is no news."""
    data: ValueReached = event.data
    news = not account.hot.value_reached or at < account.hot.clock
    note_value(account, at)
    return _used(account, data.user, at, records) | (Fact.VALUE if news else 0)


BY_TYPE: dict[str, Handler] = {
    "usage.feature_used": feature_used,
    "usage.page_viewed": page_viewed,
    "usage.logged_in": logged_in,
    "usage.error_seen": error_seen,
    "usage.value_reached": value_reached,
}
