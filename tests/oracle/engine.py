"""The engine's answer in the oracle's terms, with the laws that every list of transitions must obey."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from schemas.signals import Transition
from services.signals.backtest.run import run
from tests.oracle.oracle import Change
from tests.oracle.records import SECOND


def microseconds(moment: dt.datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def transitions(lines: Iterable[bytes | dict[str, Any]], *, until: str | None, run_start: int) -> list[Transition]:
    """What `backtest` says about a file given as events or raw lines."""
    raw = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    return list(run(raw, until=dt.date.fromisoformat(until) if until else None, run_start_us=run_start))


def changes(found: list[Transition]) -> list[Change]:
    """Transitions as changes; the ordinal is the place among the episodes of one account, signal and user."""
    ordinals: Counter[tuple[str, str, str]] = Counter()
    numbers: dict[str, int] = {}
    told: list[Change] = []
    for t in found:
        user = t.data.user if isinstance(t.data.user, str) else ""
        subject = (t.subject, t.data.signal, user)
        if t.type == "signal.raised":
            ordinals[subject] += 1
            numbers[t.data.episode_id] = ordinals[subject]
        told.append(
            Change(
                microseconds(t.time),
                t.subject,
                t.data.signal,
                user,
                numbers.get(t.data.episode_id, 0),
                t.type.removeprefix("signal."),
                t.data.severity,
                microseconds(t.data.opened_at),
                t.data.cleared_because if isinstance(t.data.cleared_because, str) else None,
            )
        )
    return told


def broken_laws(found: list[Transition]) -> list[str]:
    """What is wrong with a list of transitions on its own terms: identity, order, and the shape of episodes."""
    wrong: list[str] = []
    ranks = {"info": 0, "warning": 1, "critical": 2}
    for identity, times in Counter(t.id for t in found).items():
        if times > 1:
            wrong.append(f"transition id {identity} is used {times} times")
    if [t.time for t in found] != sorted(t.time for t in found):
        wrong.append("transitions are not in order of time")
    episodes: dict[str, list[Transition]] = {}
    for t in found:
        episodes.setdefault(t.data.episode_id, []).append(t)
    for identity, story in episodes.items():
        kinds = [t.type for t in story]
        if kinds[0] != "signal.raised" or kinds.count("signal.raised") != 1:
            wrong.append(f"episode {identity} does not begin with its one raise: {kinds}")
        if "signal.cleared" in kinds[:-1]:
            wrong.append(f"episode {identity} goes on after it was cleared: {kinds}")
        severities = [ranks[t.data.severity] for t in story]
        if severities != sorted(severities):
            wrong.append(f"severity falls inside episode {identity}: {severities}")
        for before, t in itertools.pairwise(story):
            if t.type == "signal.escalated" and t.data.previous_severity != before.data.severity:
                wrong.append(
                    f"episode {identity} escalates from {t.data.previous_severity}, was {before.data.severity}"
                )
        if len({(t.subject, t.data.signal, t.data.opened_at, str(t.data.user)) for t in story}) != 1:
            wrong.append(f"episode {identity} changes what it is about")
        for t in story:
            cleared = t.type == "signal.cleared"
            if (
                isinstance(t.data.cleared_because, str) != cleared
                or isinstance(t.data.cleared_at, dt.datetime) != cleared
            ):
                wrong.append(f"{t.id}: cleared_at and cleared_because belong to cleared, and only there")
            if cleared and t.data.cleared_at != t.time:
                wrong.append(f"{t.id}: cleared_at is not the time of the change")
            if t.data.opened_at > t.time:
                wrong.append(f"{t.id}: opened after it changed")
            if not t.data.reason.strip() or not t.data.evidence:
                wrong.append(f"{t.id}: no reason or no evidence")
            if (t.data.scope == "user") != isinstance(t.data.user, str):
                wrong.append(f"{t.id}: scope {t.data.scope} and user {t.data.user!r}")
    return wrong
