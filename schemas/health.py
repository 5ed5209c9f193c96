"""Health: the latest state of each account, on the compacted topic `health`. A null value says the account was erased."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from schemas.envelope import Instant

HEALTH_TOPIC = "health"

Band = Literal["thriving", "healthy", "watch", "critical"]


class Component(Struct, kw_only=True, gc=False):
    """One part of the score. Contributions of all components sum to the score; a null score is missing data."""

    name: str
    score: float | None
    weight: float
    contribution: float
    why: str
    action: str


class WouldChange(Struct, kw_only=True, gc=False):
    """What the score would be after a change, from the scoring function itself."""

    change: str
    score: float


class Windows(Struct, kw_only=True, gc=False):
    """Headline numbers at `as_of`. Usage windows include today (UTC days); `tickets_opened_7d` is the trailing 7 × 24 h."""

    as_of: Instant
    usage_7d: int = 0
    usage_28d: int = 0
    usage_prev_28d: int = 0
    usage_90d: int = 0
    active_users_28d: int = 0
    open_tickets: int = 0
    tickets_opened_7d: int = 0
    oldest_overdue_days: int | None = None
    last_seen: Instant | None = None


class UsageDay(Struct, kw_only=True, gc=False):
    """One UTC day of usage: feature uses in production, and those of core features."""

    day: dt.date
    usage: int
    core: int


class OpenEpisode(Struct, kw_only=True, gc=False):
    """An episode that is open at `as_of`."""

    episode_id: str
    signal: str
    severity: Literal["info", "warning", "critical"]
    user: str | None = None
    about: str | None = None


class UntriedRelease(Struct, kw_only=True, gc=False):
    """A released feature that this account, which was there before, has not used."""

    feature: str
    released_at: Instant


class ScoreDay(Struct, kw_only=True, gc=False):
    """The score as a UTC day ended."""

    day: dt.date
    score: float | None
    band: Band | None
    coverage: float


class Health(Struct, kw_only=True):
    """State of one account. `sequence` rises with every change; `open_episodes` is complete at that sequence.

    `score`, `band` and the trends are null while no score is computed. `usage_days` are the days that changed since
    the last record, and on live day rolls the last 92; `score_days` are the days whose score was settled since then,
    live the last 7 at least.
    `inputs_seen` are the event types that this account ever sent; `untried_releases` are newest first.
    `counted_since` names operators' measures that came into force later than their partition's first record, and when.
    """

    account_id: str
    as_of: Instant
    sequence: int
    historical: bool
    score: float | None = None
    band: Band | None = None
    coverage: float = 0.0
    components: list[Component] = []
    change_7d: float | None = None
    change_30d: float | None = None
    largest_detractor: str | None = None
    would_change: list[WouldChange] = []
    open_episodes: list[OpenEpisode]
    profile: dict[str, Any]
    churned: bool = False
    first_event_at: Instant | None = None
    windows: Windows
    usage_days: list[UsageDay]
    score_days: list[ScoreDay] = []
    inputs_seen: list[str] = []
    untried_releases: list[UntriedRelease] = []
    counted_since: dict[str, Instant] | UnsetType = UNSET
