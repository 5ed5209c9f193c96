"""The health record of an account: its score with its parts, profile, headline windows, recent days and open episodes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from schemas.envelope import from_us
from schemas.health import Component, Health, OpenEpisode, ScoreDay, UntriedRelease, UsageDay, WouldChange
from schemas.health import Windows as Headline
from services.signals.core.apply import SEEN
from services.signals.core.components import COMPONENTS
from services.signals.core.days import DAY_US, date_of, day_of
from services.signals.core.releases import untried
from services.signals.core.score import band_of, combine, contributions, score
from services.signals.core.scores import KEPT_DAYS, ended, on
from services.signals.core.state import Account
from services.signals.core.windows import CORE, DAYS, USAGE
from services.signals.core.world import World

WEEK_US = 7 * DAY_US
SHOWN_DAYS = 7


def headline(account: Account) -> Headline:
    """Headline numbers at the account clock."""
    hot, windows = account.hot, account.windows
    since = hot.clock - WEEK_US
    return Headline(
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


@lru_cache(1024)
def _names_seen(seen: int) -> list[str]:
    return [name for place, name in enumerate(SEEN) if seen >> place & 1]


def score_parts(record: Health, account: Account, weights: Mapping[str, float]) -> None:
    """Fill in the score as of the account clock: components, what drags it down, what would change it, its trend."""
    hot = account.hot
    now, today = hot.clock, day_of(hot.clock)
    shares = list(weights.values())
    new = score(account, now, COMPONENTS, shares)
    values, tenths, record.coverage = new.parts, new.tenths, new.coverage
    known = sum(weight for value, weight in zip(values, shares, strict=True) if value is not None)
    given = contributions(values, shares, tenths)
    changes: list[tuple[float, WouldChange]] = []
    worst = 0.0
    for place, (component, value, weight) in enumerate(zip(COMPONENTS, values, shares, strict=True)):
        words = component.words(account, now, account.parts[place])
        share = 0.0 if value is None else weight / known
        record.components.append(
            Component(
                name=component.name,
                score=None if value is None else round(value, 1),
                weight=round(100 * share, 1),
                contribution=given[place] / 10,
                why=words.why,
                action=words.action,
            )
        )
        if value is not None and share * (100 - value) > worst:
            worst = share * (100 - value)
            record.largest_detractor = component.name
        if value is not None and words.change:
            then, _ = combine([*values[:place], words.changed, *values[place + 1 :]], shares)
            if then > tenths:
                change = f"{words.change} adds {(then - tenths) / 10:g} points"
                changes.append((then - tenths, WouldChange(change=change, score=then / 10)))
    record.would_change = [change for _, change in sorted(changes, key=lambda entry: -entry[0])]
    if tenths < 0:
        return
    record.score = tenths / 10
    record.band = band_of(record.score, hot.band)  # type: ignore[assignment]  # names of BANDS only
    week, month = on(hot, today - 7), on(hot, today - 30)
    record.change_7d = None if week < 0 else round(record.score - week, 1)
    record.change_30d = None if month < 0 else round(record.score - month, 1)


def health(account: Account, world: World, weights: Mapping[str, float], *, historical: bool, all_days: bool) -> Health:
    """The record to publish. `all_days` lists every day that is held; otherwise those that changed, and live the last week.

    Live it is asked for at each day roll, so that compaction never leaves a reader without the days before.

    `weights` are those in force for the account's tier, in the order of the components.
    """
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
    since = hot.scores_told + 1
    if not historical:  # compaction may drop the record that told a day before anybody read it
        since = min(since, day_of(hot.clock) - (KEPT_DAYS if all_days else SHOWN_DAYS))
    record = Health(
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
        components=[],
        score_days=[
            ScoreDay(
                day=date_of(entry.day),
                score=entry.points,
                band=band_of(entry.points),  # type: ignore[arg-type]  # names of BANDS only
                coverage=entry.coverage,
            )
            for entry in ended(hot, since, day_of(hot.clock) - 1)
            if entry.points >= 0
        ],
        inputs_seen=_names_seen(hot.seen),
        untried_releases=[
            UntriedRelease(feature=release.feature, released_at=from_us(release.at))
            for release in untried(account, world)
        ],
    )
    if not hot.churned:
        score_parts(record, account, weights)
    return record
