"""Many rows to the few that have to be written: the last of each, repeats once, contradictions told. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from schemas.health import Component, ScoreDay, UsageDay
from services.signals.recorder.records import (
    ERASED,
    ErasedRow,
    ErasureRow,
    EventRow,
    HealthRow,
    RefusedRow,
    ReleaseRow,
    SignalRow,
    TimelineRow,
    TransitionRow,
)


class Signals(Struct):
    """What one batch of the signal topics and `health` comes to.

    `transitions` by episode and ordinal. `erased_episodes` were ended because their account was erased. `health` is the
    last record of each account, `days`, `scores` and `parts` (by the day of the record) those of all of them, after the
    account's last erasure in the batch.
    """

    transitions: dict[tuple[str, int], TransitionRow] = {}
    erased_episodes: set[str] = set()
    health: dict[str, HealthRow] = {}
    days: dict[str, dict[dt.date, UsageDay]] = {}
    scores: dict[str, dict[dt.date, ScoreDay]] = {}
    parts: dict[str, dict[dt.date, list[Component]]] = {}
    erased: dict[str, ErasedRow] = {}
    refused: list[RefusedRow] = []

    def last(self) -> list[TransitionRow]:
        """The last transition of each episode in the batch."""
        found: dict[str, TransitionRow] = {}
        for (episode_id, ordinal), row in self.transitions.items():
            if episode_id not in found or ordinal > found[episode_id].ordinal:
                found[episode_id] = row
        return list(found.values())


def fold_signals(rows: Iterable[SignalRow]) -> Signals:
    """Fold rows in their order of arrival.

    Transitions stand by their ordinal, so that order means nothing; of two with one id and different bytes the first
    stays and the other is refused. Of an account's health the record with the highest sequence stays.
    """
    batch = Signals()
    for row in rows:
        match row:
            case TransitionRow():
                _add_transition(batch, row)
            case HealthRow(health=health):
                held = batch.health.get(health.account_id)
                if held is None or health.sequence >= held.health.sequence:
                    batch.health[health.account_id] = row
                    days = batch.days.setdefault(health.account_id, {})
                    days.update((day.day, day) for day in health.usage_days)
                    scores = batch.scores.setdefault(health.account_id, {})
                    scores.update((day.day, day) for day in health.score_days)
                    if health.components:
                        parts = batch.parts.setdefault(health.account_id, {})
                        parts[health.as_of.astimezone(dt.UTC).date()] = health.components
            case ErasedRow(account_id=account_id):
                batch.erased[account_id] = row
                batch.health.pop(account_id, None)
                batch.days.pop(account_id, None)
                batch.scores.pop(account_id, None)
                batch.parts.pop(account_id, None)
            case RefusedRow():
                batch.refused.append(row)
    for place in [place for place in batch.transitions if place[0] in batch.erased_episodes]:
        del batch.transitions[place]
    return batch


def _add_transition(batch: Signals, row: TransitionRow) -> None:
    episode_id = row.change.data.episode_id
    if row.change.data.cleared_because == ERASED:
        batch.erased_episodes.add(episode_id)
        return
    held = batch.transitions.setdefault((episode_id, row.ordinal), row)
    if held.body != row.body:
        batch.refused.append(contradiction(row))


def contradiction(row: TransitionRow) -> RefusedRow:
    """The refusal of a transition whose id is taken by one that says something else."""
    return RefusedRow(row.record, "contradiction", f"id: {row.change.id} is recorded with other content")


class Events(Struct):
    """What one batch of the input topics adds to accounts' histories, and the release of each feature."""

    entries: dict[tuple[str, dt.datetime, bytes], TimelineRow] = {}
    erasures: dict[str, ErasureRow] = {}
    releases: dict[str, ReleaseRow] = {}


def fold_events(rows: Iterable[EventRow]) -> Events:
    """Fold rows in any order: a producer's retry is the same entry; the latest erasure of an account counts."""
    batch = Events()
    for row in rows:
        if isinstance(row, TimelineRow):
            batch.entries.setdefault((row.account_id, row.time, row.entry), row)
            continue
        if isinstance(row, ReleaseRow):
            before = batch.releases.get(row.feature)
            if before is None or row.released_at < before.released_at:
                batch.releases[row.feature] = row
            continue
        held = batch.erasures.get(row.account_id)
        if held is not None:
            time, appended = max(held.time, row.time), max(held.appended_at, row.appended_at)
            row = msgspec.structs.replace(row, time=time, appended_at=appended)
        batch.erasures[row.account_id] = row
    return batch
