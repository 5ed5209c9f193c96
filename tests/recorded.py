"""Records of the signal topics, `health` and the input topics as tests need them: like the engine's, in few words."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from schemas.health import HEALTH_TOPIC, Health, OpenEpisode, UsageDay, Windows
from schemas.signals import AccountBrief, Action, Evidence, Transition, TransitionData, topic_of

DAY_0 = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
APPENDED_0 = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)

Step = Literal["raised", "escalated", "cleared"]


class Stored(NamedTuple):
    """A record as a consumer hands it over."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def transition(
    account: str,
    episode: str,
    ordinal: int,
    step: Step,
    *,
    sequence: int | None = None,
    severity: Literal["info", "warning", "critical"] = "warning",
    kind: Literal["risk", "opportunity"] = "risk",
    signal: str = "usage.decline",
    opened: dt.datetime = DAY_0,
    because: str = "recovered",
    user: str | None = None,
    csm: str | None = "Ana",
    tier: str | None = "high",
    reason: str | None = None,
    historical: bool = False,
    pages: bool = False,
    offset: int = 0,
    appended: dt.datetime = APPENDED_0,
) -> Stored:
    """The `ordinal`-th transition of an episode, `ordinal` - 1 days after it opened."""
    time = opened + dt.timedelta(days=ordinal - 1)
    data = TransitionData(
        episode_id=episode,
        signal=signal,
        version=1,
        kind=kind,
        severity=severity,
        previous_severity="warning" if step == "escalated" else UNSET,
        scope="user" if user else "account",
        user=user or UNSET,
        reason=reason or f"{step}: usage over 28 d is 5 against 10",
        evidence=[Evidence(measure="usage", value=5, baseline=10, threshold=7.5, unit="uses")],
        pages=pages,
        historical=historical,
        action=Action(title="Call", owner="csm", playbook="usage-decline", runbook="usage-decline"),
        account=AccountBrief(name=account.title(), tier=tier, csm=csm),
        opened_at=opened,
        cleared_at=time if step == "cleared" else UNSET,
        cleared_because=because if step == "cleared" else UNSET,
        catalogue="c0ffee",
    )
    change = Transition(id=f"{episode}-{ordinal}", type=f"signal.{step}", subject=account, time=time, data=data)  # type: ignore[arg-type]
    number = str(ordinal if sequence is None else sequence).encode()
    return Stored(
        topic_of(kind),
        0,
        offset,
        milliseconds(appended),
        account.encode(),
        msgspec.json.encode(change),
        (("sequence", number),),
    )


def health(
    account: str,
    sequence: int,
    *,
    open_episodes: tuple[str | OpenEpisode, ...] = (),
    profile: dict[str, Any] | None = None,
    usage: dict[dt.date, int] | None = None,
    windows: dict[str, Any] | None = None,
    churned: bool = False,
    as_of: dt.datetime | None = None,
    offset: int = 0,
    appended: dt.datetime = APPENDED_0,
    **more: Any,
) -> Stored:
    """A health record; its `as_of` is `sequence` days after the first day unless given. `more`: members as they are."""
    at = as_of or DAY_0 + dt.timedelta(days=sequence)
    record = Health(
        account_id=account,
        as_of=at,
        sequence=sequence,
        historical=False,
        open_episodes=[
            OpenEpisode(episode_id=e, signal="usage.decline", severity="warning") if isinstance(e, str) else e
            for e in open_episodes
        ],
        profile={"name": account.title(), "tier": "high", "csm": "Ana"} if profile is None else profile,
        churned=churned,
        windows=Windows(as_of=at, **(windows or {})),
        usage_days=[UsageDay(day=day, usage=count, core=count // 2) for day, count in (usage or {}).items()],
        **({"first_event_at": DAY_0} | more),
    )
    return Stored(HEALTH_TOPIC, 0, offset, milliseconds(appended), account.encode(), msgspec.json.encode(record))


def erased(account: str, *, offset: int = 0, appended: dt.datetime = APPENDED_0) -> Stored:
    """The null health record of an erased account."""
    return Stored(HEALTH_TOPIC, 0, offset, milliseconds(appended), account.encode(), None)


def event(
    topic: str,
    type_: str,
    account: str,
    data: dict[str, Any],
    *,
    id_: str,
    time: dt.datetime = DAY_0,
    source: str = "test",
    offset: int = 0,
    appended: dt.datetime = APPENDED_0,
) -> Stored:
    """An input event."""
    value = {
        "specversion": "1.0",
        "id": id_,
        "source": source,
        "type": type_,
        "subject": account,
        "time": time.isoformat(),
        "data": data,
    }
    return Stored(topic, 0, offset, milliseconds(appended), account.encode(), json.dumps(value).encode())


def milliseconds(at: dt.datetime) -> int:
    """Kafka's timestamp of an instant."""
    return round(at.timestamp() * 1000)
