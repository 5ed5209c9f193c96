"""The health record of an account: its score with its parts, profile, headline windows, recent days and open episodes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import Encoder

from schemas.envelope import from_us
from schemas.health import Component, OpenEpisode, ScoreDay, UntriedRelease, UsageDay, WouldChange
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
ENCODED_KEPT: Final = 16_384
"""What stays at hand of what records tell again and again: days with their numbers, when accounts were first heard of."""

_encode: Final = Encoder().encode
_first_event_at: Final = lru_cache(ENCODED_KEPT)(from_us)


class Record(Struct):
    """A health record to be encoded: `schemas.health.Health` field by field. What many records have in common is JSON already."""

    account_id: str
    as_of: dt.datetime
    sequence: int
    historical: bool
    score: float | None
    band: str | None
    coverage: float
    components: list[Component | Raw]
    change_7d: float | None
    change_30d: float | None
    largest_detractor: str | None
    would_change: list[WouldChange]
    open_episodes: list[OpenEpisode]
    profile: dict[str, Any]
    churned: bool
    first_event_at: dt.datetime | None
    windows: Headline
    usage_days: list[Raw]
    score_days: list[Raw]
    inputs_seen: Raw
    untried_releases: list[UntriedRelease]
    counted_since: dict[str, dt.datetime] | UnsetType = UNSET


def headline(account: Account, as_of: dt.datetime, uses: list[int]) -> Headline:
    """Headline numbers at the account clock, which is `as_of`. `uses` are the uses of the last days, today's first."""
    hot = account.hot
    since = hot.clock - WEEK_US
    if hot.last_usage == hot.clock:
        last_seen: dt.datetime | None = as_of
    else:
        last_seen = None if hot.last_usage < 0 else from_us(hot.last_usage)
    return Headline(
        as_of=as_of,
        usage_7d=sum(uses[:7]),
        usage_28d=sum(uses[:28]),
        usage_prev_28d=sum(uses[28:56]),
        usage_90d=sum(uses[:90]),
        active_users_28d=hot.activity.in_28,
        open_tickets=len(hot.tickets),
        tickets_opened_7d=sum([since < at <= hot.clock for at, _ in hot.openings]) if hot.openings else 0,
        oldest_overdue_days=oldest_overdue(account) if hot.invoices else 0,
        last_seen=last_seen,
    )


def oldest_overdue(account: Account) -> int:
    """Days past due of the oldest unpaid recurring invoice, 0 where none is past due."""
    hot = account.hot
    today = day_of(hot.clock)
    return max((today - i.due_day for i in hot.invoices.values() if i.recurring and i.due_day < today), default=0)


@lru_cache(1024)
def _names_seen(seen: int) -> Raw:
    return Raw(_encode([name for place, name in enumerate(SEEN) if seen >> place & 1]))


@lru_cache(1024)
def _unknown(component: str, why: str, action: str) -> Raw:
    """A component that nothing is known of: it weighs nothing."""
    return Raw(_encode(Component(name=component, score=None, weight=0.0, contribution=0.0, why=why, action=action)))


_UNKNOWN: Final = tuple(
    None if known.unknown is None else _unknown(known.name, known.unknown.why, known.unknown.action)
    for known in COMPONENTS
)
"""By component: it where nothing is known, if that is always the same."""


@lru_cache(1024)
def _percent(weight: float, known: float) -> float:
    """What a component weighs among those that are known. Where only such are known that weigh nothing, it is none."""
    return round(100 * (weight / known), 1) if known else 0.0


@lru_cache(ENCODED_KEPT)
def _usage_day(day: int, usage: int, core: int) -> Raw:
    return Raw(_encode(UsageDay(day=date_of(day), usage=usage, core=core)))


@lru_cache(ENCODED_KEPT)
def _score_day(day: int, points: float, coverage: float) -> Raw:
    band = band_of(points)
    return Raw(_encode(ScoreDay(day=date_of(day), score=points, band=band, coverage=coverage)))  # type: ignore[arg-type]  # names of BANDS only


def _usage_days(account: Account, uses: list[int], *, week: bool, whole: bool) -> list[Raw]:
    """The days that changed, with the last week and the whole of what is held where that is asked for."""
    hot, today = account.hot, account.windows.today
    shown = set(hot.changed_days)
    if whole:
        shown.update(range(today - DAYS + 1, today + 1))
    elif week:
        shown.update(range(today - SHOWN_DAYS + 1, today + 1))
    oldest = max(today - DAYS + 1, day_of(hot.first_event) if hot.first_event >= 0 else today)
    core = account.windows.by_age(CORE, DAYS)
    return [_usage_day(day, uses[today - day], core[today - day]) for day in sorted(shown) if oldest <= day <= today]


def _episodes(account: Account) -> list[OpenEpisode]:
    episodes = [
        OpenEpisode(episode_id=episode.episode_id, signal=name, severity=episode.severity)  # type: ignore[arg-type]
        for name, episode in account.hot.episodes.items()
    ]
    episodes += [
        OpenEpisode(
            episode_id=key,
            signal=entry.signal,
            severity=entry.severity,  # type: ignore[arg-type]
            user=entry.user or None,
            about=entry.about or None,
        )
        for key, entry in account.hot.user_episodes.items()
    ]
    if len(episodes) > 1:
        episodes.sort(key=lambda entry: entry.episode_id)
    return episodes


def score_parts(record: Record, account: Account, weights: Mapping[str, float]) -> None:
    """Fill in the score as of the account clock: components, what drags it down, what would change it, its trend."""
    hot = account.hot
    now, today = hot.clock, day_of(hot.clock)
    in_force = tuple(weights.values())
    new = score(account, now, COMPONENTS, in_force)
    tenths, record.coverage = new.tenths, new.coverage
    # Of the components that are known, in their order; the others do not count.
    values = [value for value in new.parts if value is not None]
    shares = [weight for value, weight in zip(new.parts, in_force, strict=True) if value is not None]
    known = sum(shares)
    given = iter(contributions(values, shares, tenths))
    changes: list[tuple[int, WouldChange]] = []
    worst = 0.0
    place = 0
    for component, part, weight, unknown in zip(COMPONENTS, account.parts, in_force, _UNKNOWN, strict=True):
        value = part.score
        if value is None and unknown is not None:
            record.components.append(unknown)
            continue
        words = component.words(account, now, part)
        if value is None:
            record.components.append(_unknown(component.name, words.why, words.action))
            continue
        record.components.append(
            Component(
                name=component.name,
                score=round(value, 1),
                weight=_percent(weight, known),
                contribution=next(given) / 10,
                why=words.why,
                action=words.action,
            )
        )
        lost = weight / known * (100 - value) if known else 0.0
        if lost > worst:
            worst = lost
            record.largest_detractor = component.name
        if words.change and words.changed > value:
            then, _ = combine([*values[:place], words.changed, *values[place + 1 :]], shares)
            if then > tenths:
                change = f"{words.change} adds {(then - tenths) / 10:g} points"
                changes.append((then - tenths, WouldChange(change=change, score=then / 10)))
        place += 1
    if len(changes) > 1:
        changes.sort(key=lambda entry: -entry[0])
    record.would_change = [change for _, change in changes]
    if tenths < 0:
        return
    record.score = tenths / 10
    record.band = band_of(record.score, hot.band)
    week, month = on(hot, today - 7), on(hot, today - 30)
    record.change_7d = None if week < 0 else round(record.score - week, 1)
    record.change_30d = None if month < 0 else round(record.score - month, 1)


def health(account: Account, world: World, weights: Mapping[str, float], *, historical: bool, all_days: bool) -> Record:
    """The record to publish. `all_days` lists every day that is held; otherwise those that changed, and live the last week.

    Live it is asked for at each day roll, so that compaction never leaves a reader without the days before.

    `weights` are those in force for the account's tier, in the order of the components.
    """
    hot = account.hot
    as_of = from_us(hot.clock)
    today = day_of(hot.clock)
    uses = account.windows.by_age(USAGE, DAYS)
    since = hot.scores_told + 1
    if not historical:  # compaction may drop the record that told a day before anybody read it
        since = min(since, today - (KEPT_DAYS if all_days else SHOWN_DAYS))
    record = Record(
        account_id=account.id,
        as_of=as_of,
        sequence=hot.sequence,
        historical=historical,
        score=None,
        band=None,
        coverage=0.0,
        components=[],
        change_7d=None,
        change_30d=None,
        largest_detractor=None,
        would_change=[],
        open_episodes=_episodes(account),
        profile=hot.profile.fields,
        churned=hot.churned,
        first_event_at=None if hot.first_event < 0 else _first_event_at(hot.first_event),
        windows=headline(account, as_of, uses),
        usage_days=_usage_days(account, uses, week=not historical, whole=all_days),
        score_days=[
            _score_day(entry.day, entry.points, entry.coverage)
            for entry in ended(hot, since, today - 1)
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
