"""Which signals can say anything of an account: never fine where something is missing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from services.api.coverage import Record, SignalState, coverage, record_of, summary

FIRST = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def entry(**known: Any) -> dict[str, Any]:
    return {"id": "usage.decline", "title": "T", "kind": "risk", "family": "usage", "scope": "account"} | known


def record(**known: Any) -> Record:
    body = {
        "account_id": "acme",
        "as_of": FIRST + 100 * DAY,
        "open_episodes": [],
        "profile": {"seats": 5},
        "first_event_at": FIRST,
        "inputs_seen": ["account.updated", "usage.feature_used"],
    }
    return record_of(msgspec.json.encode(body | known))


def state(found: Record, **known: Any) -> SignalState:
    (one,) = coverage(found, [entry(**known)])
    return one


OPEN = [{"episode_id": "e1", "signal": "usage.decline", "severity": "warning", "user": None}]


def test_quiet_is_said_only_where_every_need_is_there() -> None:
    assert state(record(), needs=["usage.feature_used"]).state == "quiet"
    assert state(record(), needs=["usage.feature_used", "profile.seats"]).state == "quiet"
    assert state(record()).state == "quiet"
    starved = state(record(), needs=["usage.feature_used", "ticket.opened", "profile.renewal_date"])
    assert (starved.state, starved.missing) == ("starved", ["profile.renewal_date", "ticket.opened"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, "starved"), (0, "starved"), ("", "starved"), ({}, "starved"), (False, "quiet"), (1, "quiet")],
)
def test_a_profile_member_that_says_nothing_is_missing(given: object, expected: str) -> None:
    assert state(record(profile={"seats": given}), needs=["profile.seats"]).state == expected


def test_without_named_needs_one_of_the_inputs_must_have_come() -> None:
    assert state(record(), inputs=["usage.logged_in", "usage.feature_used"]).state == "quiet"
    starved = state(record(), inputs=["ticket.opened", "ticket.closed"])
    assert (starved.state, starved.missing) == ("starved", ["ticket.opened or ticket.closed"])
    assert state(record(), inputs=["ticket.opened"], needs=["usage.feature_used"]).state == "quiet"
    assert state(record(), inputs=["ticket.opened"], needs=["profile.seats"]).missing == ["ticket.opened"]
    assert state(record(inputs_seen=[]), inputs=["ticket.opened"]).state == "unknown"


@pytest.mark.parametrize("member", ["renewal_date", "contract_end"])
def test_the_end_of_the_contract_stands_in_for_a_renewal_date(member: str) -> None:
    assert state(record(profile={member: "2026-12-31"}), needs=["profile.renewal_date"]).state == "quiet"
    assert state(record(profile={}), needs=["profile.renewal_date"]).state == "starved"


@pytest.mark.parametrize(("days", "expected"), [(99, "quiet"), (100, "quiet"), (101, "warming")])
def test_windows_that_are_not_filled_are_warming_until_they_are(days: int, expected: str) -> None:
    found = state(record(), needs=["usage.feature_used"], warming_days=days)
    assert found.state == expected
    assert found.until == (FIRST + days * DAY if expected == "warming" else None)


def test_an_account_never_heard_of_is_warming_from_now() -> None:
    assert state(record(first_event_at=None), warming_days=7).until == FIRST + 107 * DAY


def test_what_is_open_is_open_whatever_is_missing_and_nothing_is_judged_of_the_churned() -> None:
    found = state(record(open_episodes=OPEN), needs=["ticket.opened"], warming_days=500)
    assert (found.state, found.episodes, found.missing, found.until) == ("open", ["e1"], [], None)
    assert state(record(open_episodes=OPEN), id="other").state == "quiet"
    assert state(record(churned=True), needs=["ticket.opened"]).state == "churned"


def test_a_record_from_before_inputs_were_listed_is_not_taken_for_fine() -> None:
    old = record(inputs_seen=[])
    assert state(old, needs=["usage.feature_used"]).state == "unknown"
    assert state(old, needs=["profile.seats"]).state == "quiet"
    assert state(old, needs=["usage.feature_used", "profile.renewal_date"]).missing == ["profile.renewal_date"]


def test_starved_goes_before_warming_and_signals_of_the_portfolio_are_left_out() -> None:
    assert state(record(), needs=["ticket.opened"], warming_days=500).state == "starved"
    entries = [entry(), entry(id="a", warming_days=500), entry(id="b", scope="portfolio")]
    found = coverage(record(), entries)
    assert [one.signal for one in found] == ["usage.decline", "a"]
    assert summary(found) == {"open": 0, "quiet": 1, "starved": 0, "warming": 1, "unknown": 0, "churned": 0}
