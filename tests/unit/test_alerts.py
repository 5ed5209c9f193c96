"""Alerts of signals that page: what they say, that one episode is one alert, and how it ends."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from services.delivery.alerts import Key, Paging, Sent, alert, encode, fires, following

NOW = dt.datetime(2026, 5, 4, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
CONSOLE = "https://ebbtide.example/"
PAGING = Paging(
    episode_id="e/1",
    account_id="acme",
    signal="critical.compound",
    kind="risk",
    severity="warning",
    scope="account",
    pages=True,
    historical=False,
    status="open",
    opened_at=NOW - 90 * MINUTE,
    cleared_at=None,
    tier="high",
    owner="csm",
    reason="Usage fell by half.",
    action="Call today",
    name="Acme Ltd",
    csm="Ana",
    mrr=Decimal("1234.50"),
    currency="EUR",
)


def after(*episodes: Paging, sent: dict[Key, Sent] | None = None, now: dt.datetime = NOW) -> dict[Key, Sent]:
    return following(episodes, sent or {}, now=now, console=CONSOLE)


def only(sent: dict[Key, Sent]) -> Sent:
    (found,) = sent.values()
    return found


def test_what_an_alert_says() -> None:
    link = "https://ebbtide.example/signals/e%2F1"
    assert json.loads(encode([alert(PAGING, now=NOW, console=CONSOLE)])) == [
        {
            "labels": {
                "alertname": "EbbtideSignal",
                "signal": "critical.compound",
                "severity": "warning",
                "kind": "risk",
                "tier": "high",
                "owner": "csm",
                "episode": "e/1",
            },
            "annotations": {
                "account": "acme",
                "account_name": "Acme Ltd",
                "summary": "Acme Ltd: critical.compound",
                "description": "Usage fell by half.",
                "action": "Call today",
                "link": link,
                "status": "open",
                "csm": "Ana",
                "arr": "14814.00 EUR",
            },
            "startsAt": "2026-05-04T10:30:00Z",
            "endsAt": "2026-05-04T12:05:00Z",
            "generatorURL": link,
        }
    ]


def test_no_label_is_of_the_account() -> None:
    # As if the account could be known by it: were any of these a label, an account would be.
    other = structs.replace(
        PAGING, account_id="birk", name="Birk", csm="Ben", mrr=Decimal(1), currency="USD", reason="x", action="y"
    )
    assert alert(other, now=NOW, console=CONSOLE).labels == alert(PAGING, now=NOW, console=CONSOLE).labels


@pytest.mark.parametrize(
    "change",
    [
        {"pages": False},
        {"historical": True},
        {"scope": "user"},
        {"scope": "campaign"},
        {"status": "snoozed"},
        {"status": "closed"},
        {"status": "cleared", "cleared_at": NOW},
    ],
)
def test_what_nobody_is_told_of(change: dict[str, Any]) -> None:
    assert fires(PAGING)
    silent = structs.replace(PAGING, **change)
    assert not fires(silent)
    assert after(silent) == {}


def test_it_is_one_alert_while_it_lasts() -> None:
    first = after(PAGING)
    acknowledged = structs.replace(PAGING, status="acknowledged", reason="Usage fell by two thirds.", name="Acme SE")
    second = after(acknowledged, sent=first, now=NOW + MINUTE)
    assert first.keys() == second.keys()
    assert only(second).alert.starts_at == PAGING.opened_at
    assert only(second).alert.ends_at == NOW + 6 * MINUTE
    assert only(second).alert.annotations["description"] == "Usage fell by two thirds."


def test_it_ends_when_it_cleared_and_that_is_said_for_as_long_as_it_would_have_been_shown() -> None:
    cleared = structs.replace(PAGING, status="cleared", cleared_at=NOW - MINUTE)
    ended = after(cleared, sent=after(PAGING), now=NOW + MINUTE)
    assert only(ended).alert.ends_at == NOW - MINUTE
    # It is asked for no more, and said again as it was said.
    assert after(sent=ended, now=NOW + 6 * MINUTE) == ended
    assert after(sent=ended, now=NOW + 6.1 * MINUTE) == {}


@pytest.mark.parametrize("gone", [None, structs.replace(PAGING, status="snoozed")])
def test_what_is_silent_from_now_on_ends_now(gone: Paging | None) -> None:
    ended = only(after(*([gone] if gone else []), sent=after(PAGING), now=NOW + MINUTE))
    assert ended.alert.ends_at == NOW + MINUTE
    # After the snooze it is the same alert again.
    again = after(PAGING, sent=after(sent=after(PAGING), now=NOW + MINUTE), now=NOW + 2 * MINUTE)
    assert again.keys() == after(PAGING).keys()
    assert only(again).alert.ends_at == NOW + 7 * MINUTE
    assert only(again).ended is None


def test_an_escalation_is_another_alert_and_ends_the_one_before() -> None:
    worse = structs.replace(PAGING, severity="critical")
    both = list(after(worse, sent=after(PAGING), now=NOW + MINUTE).values())
    assert [(s.alert.labels["severity"], s.alert.ends_at) for s in both] == [
        ("critical", NOW + 6 * MINUTE),
        ("warning", NOW + MINUTE),
    ]
    assert both[0].alert.starts_at == PAGING.opened_at


def test_an_account_clock_ahead_of_ours_gives_no_alert_that_ends_before_it_starts() -> None:
    ahead = structs.replace(PAGING, opened_at=NOW + MINUTE)
    assert only(after(ahead)).alert.starts_at == NOW
    cleared = structs.replace(ahead, status="cleared", cleared_at=NOW + 2 * MINUTE)
    assert only(after(cleared, sent=after(ahead), now=NOW + MINUTE)).alert.ends_at == NOW + MINUTE
    early = structs.replace(PAGING, status="cleared", cleared_at=PAGING.opened_at - MINUTE)
    assert only(after(early, sent=after(PAGING))).alert.ends_at == PAGING.opened_at
