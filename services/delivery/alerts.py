"""Signals that page, as alerts of Alertmanager's API v2. Pure: time is passed in, nothing is sent.

An alert is known by its labels, so these never change while an episode lasts, but for its severity: an escalation is
another alert, which notifies again, and ends the one before. Who the account is stands in annotations only: labels are
what routes and silences are written with, and there must not be one for each account.

What has ended is said to have ended for as long as Alertmanager would have shown it otherwise; after that it knows by
itself. So a restart, which forgets what was sent, costs at most `LIVES`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct, field, structs

ALERT_NAME: Final = "EbbtideSignal"
LIVES: Final = dt.timedelta(minutes=5)
"""How long an alert is shown that is not sent again."""
NONE: Final = "none"
FIRING: Final = frozenset({"open", "acknowledged"})
"""Shown statuses of which people are told. What is snoozed or closed is silent."""
SCOPES: Final = frozenset({"account", "portfolio"})

Key = tuple[tuple[str, str], ...]


class Paging(Struct, frozen=True, kw_only=True):
    """An episode as far as an alert shows it. `tier` and `owner` are those of its raise. `status` is the shown one."""

    episode_id: str
    account_id: str
    signal: str
    kind: str
    severity: str
    scope: str
    pages: bool
    historical: bool
    status: str
    opened_at: dt.datetime
    cleared_at: dt.datetime | None
    tier: str | None
    owner: str
    reason: str
    action: str
    name: str | None
    csm: str | None
    mrr: Decimal | None
    currency: str | None


class Alert(Struct, frozen=True, rename="camel"):
    """One alert as it is posted. Sent with an end in the past it is resolved."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: dt.datetime
    ends_at: dt.datetime
    generator_url: str = field(name="generatorURL")


class Sent(Struct, frozen=True):
    """An alert as it was sent last, and when its end was noticed; None while it fires."""

    alert: Alert
    episode_id: str
    ended: dt.datetime | None = None


def fires(episode: Paging) -> bool:
    """Whether people are told of the episode now."""
    return (
        episode.pages and not episode.historical and episode.scope in SCOPES and episode.status in FIRING
    ) and episode.cleared_at is None


def alert(episode: Paging, *, now: dt.datetime, console: str) -> Alert:
    """The alert of an episode that fires. `console` is the console's address."""
    link = f"{console.rstrip('/')}/signals/{quote(episode.episode_id, safe='')}"
    who = episode.name or episode.account_id
    annotations = {
        "account": episode.account_id,
        "account_name": who,
        "summary": f"{who}: {episode.signal}",
        "description": episode.reason,
        "action": episode.action,
        "link": link,
        "status": episode.status,
    }
    if episode.csm is not None:
        annotations["csm"] = episode.csm
    if episode.mrr is not None:
        annotations["arr"] = f"{episode.mrr * 12:f} {episode.currency or 'XXX'}"
    return Alert(
        labels={
            "alertname": ALERT_NAME,
            "signal": episode.signal,
            "severity": episode.severity,
            "kind": episode.kind,
            "tier": episode.tier or NONE,
            "owner": episode.owner,
            "episode": episode.episode_id,
        },
        annotations=annotations,
        # What happened a moment ahead of our clock must not end before it starts.
        starts_at=min(episode.opened_at, now),
        ends_at=now + LIVES,
        generator_url=link,
    )


def following(
    episodes: Iterable[Paging], sent: Mapping[Key, Sent], *, now: dt.datetime, console: str
) -> dict[Key, Sent]:
    """What to send now, given what was sent before. `episodes` has what may fire, and every episode in `sent` that there is.

    Firing comes first.
    """
    known = {episode.episode_id: episode for episode in episodes}
    found: dict[Key, Sent] = {}
    for episode in known.values():
        if fires(episode):
            made = alert(episode, now=now, console=console)
            found[key_of(made)] = Sent(made, episode.episode_id)
    for key, before in sent.items():
        if key in found:
            continue
        if before.ended is None:
            found[key] = _ended(before, known.get(before.episode_id), now)
        elif now - before.ended <= LIVES:
            found[key] = before
    return found


def _ended(before: Sent, episode: Paging | None, now: dt.datetime) -> Sent:
    cleared = None if episode is None else episode.cleared_at
    ends_at = now if cleared is None else max(min(cleared, now), before.alert.starts_at)
    return Sent(structs.replace(before.alert, ends_at=ends_at), before.episode_id, now)


def key_of(made: Alert) -> Key:
    """What Alertmanager tells alerts apart by."""
    return tuple(sorted(made.labels.items()))


encode: Final = msgspec.json.Encoder().encode
"""Alerts as the body of a POST."""
