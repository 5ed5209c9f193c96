"""Records of format 1, read into today's shapes. Nothing is written in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from services.signals.core.activity import KEPT_DAYS, Activity
from services.signals.core.contacts import Contacts
from services.signals.core.contract import Profile
from services.signals.core.days import week_of
from services.signals.core.episodes import Episode, Past
from services.signals.core.records import Invoice, Ticket
from services.signals.core.state import Hot, IdChunk, OpenSubject
from services.signals.core.windows import DAYS, WEEKS, Windows


class Activity1(Struct, array_like=True):
    """Users by last active day as a ring of 92 days."""

    today: int = 0
    last_active: list[int] = []
    in_28: int = 0


class History1(Struct, array_like=True):
    """Buckets, the running day's and week's among them as they were when this was written."""

    today: int
    days: list[list[int]]
    weeks: list[list[int]]


class Hot1(Struct, array_like=True):
    """The account's own record."""

    clock: int = 0
    first_event: int = -1
    last_usage: int = -1
    usage_days: list[int] = []
    windows_today: int = 0
    window_sums: list[list[int]] = []
    bucket_today: list[int] = []
    bucket_week: list[int] = []
    activity: Activity1 = field(default_factory=Activity1)
    low_adoption_since: int = -1
    value_reached: bool = False
    goals_tracked: bool = False
    churned: bool = False
    churn_known_at: int = -1
    renewals: int = 0
    profile: Profile = field(default_factory=Profile)
    contacts: Contacts = field(default_factory=Contacts)
    tickets: dict[str, Ticket] = {}
    openings: list[tuple[int, str]] = []
    invoices: dict[str, Invoice] = {}
    episodes: dict[str, Episode] = {}
    past: dict[str, Past] = {}
    due: dict[str, int] = {}
    user_episodes: dict[str, OpenSubject] = {}
    roll_day: int = 0
    offsets: list[int] = []
    sequence: int = 0
    changed_days: list[int] = []
    ids_recent: list[tuple[int, int]] = []
    id_chunks: list[IdChunk] = []
    next_chunk: int = 0
    outbox: list[tuple[str, bytes]] = []
    generation: int = 0
    erased: bool = False
    unknown_entities: int = 0
    over_cap: int = 0


_hot: Final = msgspec.msgpack.Decoder(Hot1).decode
_history: Final = msgspec.msgpack.Decoder(History1).decode
_ids: Final = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode

SAME: Final = tuple(name for name in Hot.__struct_fields__ if name in Hot1.__struct_fields__ and name != "activity")


def read_account(body: Any, history: Any, own: Sequence[int] = ()) -> tuple[Hot, Windows]:
    """The account's own record and its windows, from the bodies of both records; the buckets are to be stored anew.

    The stored buckets hold the running day and week as they were when they were written; the account's own record has
    them as they are.
    """
    old: Hot1 = _hot(body)
    today = old.windows_today
    ring, since = old.activity.last_active, old.activity.today
    last_active = {since - age: ring[(since - age) % KEPT_DAYS] for age in range(len(ring))}
    hot = Hot(
        **{name: getattr(old, name) for name in SAME},
        activity=Activity(since, {day: users for day, users in last_active.items() if users}, old.activity.in_28),
        ids_1=old.ids_recent,
    )
    windows = Windows(today, own)
    if history is not None:
        past: History1 = _history(history)
        windows.today = past.today
        windows.days[: len(past.days)] = past.days
        windows.weeks[: len(past.weeks)] = past.weeks
        windows.age(today)
    for measure, (amount, week) in enumerate(zip(old.bucket_today, old.bucket_week, strict=True)):
        windows.now[measure] = amount
        days, weeks = windows.days[measure], windows.weeks[measure]
        if days is not None and weeks is not None:
            days[today % DAYS] = 0
            weeks[week_of(today) % WEEKS] = week - amount
    windows.stale = True
    return hot, windows


def read_ids(body: Any) -> dict[int, int]:
    """Ids of a chunk and their hours."""
    return dict(_ids(body))
