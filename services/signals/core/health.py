"""The health record of an account: its profile, headline windows, recent days and open episodes. No score yet."""

from __future__ import annotations

from schemas.envelope import from_us
from schemas.health import Health, OpenEpisode, UsageDay, Windows
from services.signals.core.days import DAY_US, date_of, day_of
from services.signals.core.state import Account
from services.signals.core.windows import CORE, DAYS, USAGE

WEEK_US = 7 * DAY_US
SHOWN_DAYS = 7


def headline(account: Account) -> Windows:
    """Headline numbers at the account clock."""
    hot, windows = account.hot, account.windows
    since = hot.clock - WEEK_US
    return Windows(
        as_of=from_us(hot.clock),
        usage_7d=windows.last_7(USAGE),
        usage_28d=windows.last_28(USAGE),
        usage_prev_28d=windows.previous_28(USAGE),
        usage_90d=windows.last_90(USAGE),
        active_users_28d=hot.activity.in_28,
        open_tickets=len(hot.tickets),
        tickets_opened_7d=sum(since < at <= hot.clock for at, _ in hot.openings),
        oldest_overdue_days=oldest_overdue(account),
        last_seen=None if hot.last_usage < 0 else from_us(hot.last_usage),
    )


def oldest_overdue(account: Account) -> int:
    """Days past due of the oldest unpaid recurring invoice, 0 where none is past due."""
    hot = account.hot
    today = day_of(hot.clock)
    return max((today - i.due_day for i in hot.invoices.values() if i.recurring and i.due_day < today), default=0)


def health(account: Account, *, historical: bool, all_days: bool) -> Health:
    """The record to publish. `all_days` lists every day that is held; otherwise those that changed, and live the last week."""
    hot, windows = account.hot, account.windows
    shown = set(hot.changed_days)
    if all_days:
        shown.update(range(windows.today - DAYS + 1, windows.today + 1))
    elif not historical:
        shown.update(range(windows.today - SHOWN_DAYS + 1, windows.today + 1))
    first = day_of(hot.first_event) if hot.first_event >= 0 else windows.today
    days = [
        UsageDay(day=date_of(day), usage=windows.on_age(USAGE, age), core=windows.on_age(CORE, age))
        for day in sorted(shown)
        if 0 <= (age := windows.today - day) < DAYS and day >= first
    ]
    episodes = [
        OpenEpisode(episode_id=episode.episode_id, signal=name, severity=episode.severity)  # type: ignore[arg-type]
        for name, episode in hot.episodes.items()
    ] + [
        OpenEpisode(
            episode_id=key,
            signal=entry.signal,
            severity=entry.severity,  # type: ignore[arg-type]
            user=entry.user or None,
            about=entry.about or None,
        )
        for key, entry in hot.user_episodes.items()
    ]
    return Health(
        account_id=account.id,
        as_of=from_us(hot.clock),
        sequence=hot.sequence,
        historical=historical,
        open_episodes=sorted(episodes, key=lambda entry: entry.episode_id),
        profile=hot.profile.fields,
        churned=hot.churned,
        first_event_at=None if hot.first_event < 0 else from_us(hot.first_event),
        windows=headline(account),
        usage_days=days,
    )
