"""The brief before a call: what it says, by hand, and that no history or name breaks it."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from schemas.lifecycle import Handling, Status
from schemas.priority import Part
from services.api.brief import TYPES, Event, Known, OpenSignal, brief
from services.api.brief_text import markdown, plain
from services.api.endpoints.brief import wants_markdown
from services.api.standing import in_words

NOW = dt.datetime(2026, 5, 20, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def event(type_: str, days_ago: float, **data: Any) -> Event:
    return Event(NOW - days_ago * DAY, type_, data)


def signal(name: str, **known: Any) -> OpenSignal:
    members = {
        "episode_id": f"e-{name}",
        "signal": name,
        "kind": "risk",
        "severity": "warning",
        "reason": f"because of {name}",
        "opened_at": NOW - 3 * DAY,
        "rank": 2.4,
        "user": None,
        "about": None,
        "action": {"title": f"Act on {name}", "owner": "csm"},
    }
    return OpenSignal(**(members | known))


def known(**members: Any) -> Known:
    health = {
        "as_of": NOW.isoformat(),
        "score": None,
        "band": None,
        "coverage": 0.0,
        "windows": {"usage_28d": 0, "usage_prev_28d": 0, "last_seen": None},
        "inputs_seen": ["ticket.opened", "training.attended"],
    }
    found: dict[str, Any] = {
        "account_id": "acme",
        "health": health | members.pop("health", {}),
        "profile": {"name": "Acme", "tier": "low"},
        "first_event_at": NOW - 400 * DAY,
        "signals": [],
        "open_count": 0,
        "rank": None,
        "parts": [],
        "usage_weeks": [0] * 12,
    }
    return Known(**(found | members))


def told(*events: Event, **members: Any) -> dict[str, Any]:
    return brief(known(**members), sorted(events, key=lambda e: e.time), NOW, complete=True)


def test_a_webinar_and_three_tickets_on_reporting_are_both_there_without_any_usage_data() -> None:
    about = signal("support.same_topic", about="reporting", reason="3 tickets on reporting in 14 days")
    found = told(
        event("training.attended", 6, user="ana"),
        event("ticket.opened", 13, ticket_id="t1", priority="P3", topic="reporting"),
        event("ticket.opened", 8, ticket_id="t2", priority="P2", topic="reporting"),
        event("ticket.opened", 2, ticket_id="t3", priority="P3", topic="reporting"),
        event("ticket.closed", 1, ticket_id="t3"),
        event("ticket.opened", 40, ticket_id="t0", priority="P4", topic="login"),
        event("ticket.resolved", 39, ticket_id="t0"),
        signals=[about],
        open_count=1,
    )
    assert found["usage"] == {"available": False}
    assert found["trainings"]["latest"] == [{"time": NOW - 6 * DAY, "user": "ana", "days_ago": 6}]
    assert found["tickets"]["opened"] == {"14d": 3, "30d": 3, "90d": 4}
    assert found["tickets"]["open"] == 2
    assert found["tickets"]["by_topic"] == [
        {"topic": "reporting", "opened": {"14d": 3, "30d": 3, "90d": 3}, "open": 2},
        {"topic": "login", "opened": {"14d": 0, "30d": 0, "90d": 1}, "open": 0},
    ]
    assert found["signals"][0]["about"] == "reporting"
    assert found["next_actions"][0]["title"] == "Act on support.same_topic"
    page = markdown(found)
    assert "3 tickets on reporting in 14 days" in page
    assert "reporting: 3 / 3 / 3, 2 open" in page
    assert "the last on 2026-05-14 (6 days ago)" in page
    assert "No usage data comes from this account" in page
    assert "No score" in page
    assert len(page.splitlines()) < 60


def test_a_window_is_half_open_and_an_old_open_ticket_is_not_forgotten() -> None:
    found = told(
        event("ticket.opened", 14, ticket_id="edge", priority="P1", topic="a"),
        event("ticket.opened", 13.99, ticket_id="in", priority="P3"),
        event("ticket.opened", 200, ticket_id="old", priority="P4", topic="c"),
        event("ticket.resolved", 1, ticket_id="nobody"),
        event("ticket.updated", 100, ticket_id="old", priority="P1", topic="d"),
        event("ticket.escalated", 99, ticket_id="old"),
        event("ticket.resolved", 98, ticket_id="old"),
        event("ticket.reopened", 97, ticket_id="old"),
        event("ticket.opened", 96, ticket_id="old", priority="P4", topic="again"),
    )
    assert found["tickets"]["opened"] == {"14d": 1, "30d": 2, "90d": 2}
    assert [(t["ticket_id"], t["priority"], t["topic"], t["open_days"]) for t in found["tickets"]["open_tickets"]] == [
        ("old", "P1", "d", 200),
        ("edge", "P1", "a", 14),
        ("in", "P3", None, 13),
    ]
    assert found["tickets"]["open_tickets"][0]["escalated"] is True


@pytest.mark.parametrize(
    ("events", "state", "negative"),
    [
        ([event("survey.sent", 13.9, survey_id="s", kind="nps")], "waiting", None),
        ([event("survey.sent", 14, survey_id="s", kind="nps")], "unanswered", None),
        ([event("survey.answered", 2, survey_id="s", kind="nps", score=6, user="ana")], "answered", True),
        ([event("survey.answered", 2, survey_id="s", kind="nps", score=7)], "answered", False),
        ([event("survey.answered", 2, survey_id="s", kind="csat", score=2)], "answered", True),
        ([event("survey.answered", 2, survey_id="s", kind="csat", score=3)], "answered", False),
        (
            [
                event("survey.answered", 30, survey_id="r", kind="nps", score=9),
                event("survey.sent", 20, survey_id="s", kind="nps"),
            ],
            "unanswered",
            None,
        ),
    ],
)
def test_the_latest_survey_is_the_one_sent_or_answered_last(
    events: list[Event], state: str, negative: bool | None
) -> None:
    found = told(*events)["survey"]
    assert (found["survey_id"], found["state"], found["negative"]) == ("s", state, negative)


def test_no_survey_is_none() -> None:
    assert told()["survey"] is None


def test_overdue_invoices_are_what_is_still_owed() -> None:
    def issued(name: str, amount: str, due: str, **more: Any) -> Event:
        return event("invoice.issued", 90, invoice_id=name, amount=amount, currency="EUR", due=due, **more)

    found = told(
        issued("late", "100.10", "2026-04-20"),
        issued("part", "50.00", "2026-05-19"),
        event("invoice.partly_paid", 5, invoice_id="part", amount="20.00"),
        issued("today", "1", "2026-05-20"),
        issued("paid", "9", "2026-01-01"),
        event("invoice.paid", 80, invoice_id="paid", amount="1"),
        issued("fee", "7", "2026-05-01", recurring=False),
        issued("voided", "3", "2026-01-01"),
        event("invoice.voided", 4, invoice_id="voided"),
        issued("credited", "3", "2026-01-01"),
        event("invoice.credited", 4, invoice_id="credited"),
        event("invoice.paid", 95, invoice_id="early", amount="4"),
        issued("early", "4", "2026-01-01"),
        event("invoice.payment_failed", 3, invoice_id="late", attempt=2),
    )["invoices"]
    assert [(i["invoice_id"], i["owed"], i["days_overdue"], i["recurring"]) for i in found["overdue"]] == [
        ("late", "100.10", 30, True),
        ("fee", "7", 19, False),
        ("part", "30.00", 1, True),
    ]
    assert found["owed"] == {"EUR": "137.10"}
    assert found["oldest_days"] == 30
    assert found["overdue"][0]["failed_payments"] == 1


def test_people_touchpoints_goals_and_promises() -> None:
    found = told(
        event("account.contact_changed", 300, contact_id="1", name="Ana", roles=["champion"]),
        event("account.contact_changed", 300, contact_id="2", name="Bo", roles=["executive_sponsor", "buyer"]),
        event("account.contact_changed", 299, contact_id="3", name="Cy", roles=["user"]),
        event("account.contact_left", 10, contact_id="2"),
        event("account.contact_changed", 9, contact_id="3", moved_to="Rival"),
        event("contact.away", 2, contact_id="1", until="2026-05-25"),
        event("touchpoint.held", 40, kind="call", by="Dee"),
        event("touchpoint.held", 3, kind="email", bulk=True),
        event("touchpoint.planned", 3, kind="business_review", due="2026-06-01"),
        event("touchpoint.planned", 60, kind="meeting", due="2026-04-01"),
        event("touchpoint.missed", 50, kind="meeting"),
        event("account.goal_set", 200, goal="fewer errors", metric="errors", target=5, due="2026-07-01"),
        event("account.goal_measured", 20, goal="fewer errors", value=9.5),
        event("account.goal_set", 200, goal="go live"),
        event("account.goal_achieved", 100, goal="go live"),
        event("account.commitment_made", 30, commitment="export", due="2026-05-01"),
        event("account.commitment_made", 30, commitment="kept", due="2026-05-01"),
        event("account.commitment_kept", 20, commitment="kept"),
    )
    assert found["contacts"] == {
        "people": [{"contact_id": "1", "name": "Ana", "roles": ["champion"], "away_until": dt.date(2026, 5, 25)}],
        "count": 1,
        "missing_roles": ["executive_sponsor"],
    }
    assert found["touchpoints"]["held"] == {"14d": 0, "30d": 0, "90d": 1}
    assert found["touchpoints"]["last_days_ago"] == 40
    assert found["touchpoints"]["planned"] == [{"kind": "business_review", "due": "2026-06-01"}]
    assert found["touchpoints"]["missed_90d"] == 1
    assert [(g["goal"], g["value"], g["achieved_at"]) for g in found["goals"]] == [
        ("fewer errors", 9.5, None),
        ("go live", None, NOW - 100 * DAY),
    ]
    assert found["commitments"] == [{"commitment": "export", "due": "2026-05-01", "late": True}]


def test_renewal_health_usage_and_rank_are_told_in_the_text() -> None:
    component = {"name": "adoption", "why": "13 of 100 seats are active.", "action": "Plan the roll-out."}
    found = told(
        profile={
            "name": "Acme",
            "mrr": "2416.67",
            "currency": "USD",
            "seats": 100,
            "renewal_date": "2026-06-30",
            "auto_renew": True,
            "opt_out_by": "2026-06-01",
            "price_step": {"date": "2027-02-20", "percent": 50},
        },
        health={
            "score": 61.4,
            "band": "watch",
            "coverage": 0.85,
            "change_7d": -2.0,
            "change_30d": None,
            "largest_detractor": "adoption",
            "components": [component],
            "would_change": [{"change": "60 of 100 seats active", "score": 72.0}],
            "windows": {
                "usage_28d": 75,
                "usage_prev_28d": 100,
                "active_users_28d": 13,
                "last_seen": "2026-05-19T10:00:00Z",
            },
        },
        signals=[signal("usage.decline"), signal("lifecycle.nps_due", severity="info")],
        open_count=2,
        rank=12.42,
        parts=[Part("severity", Decimal(3), "warning: usage.decline"), Part("tenure", Decimal(1), "customer since")],
    )
    assert found["account"]["arr"] == "29000.04"
    assert found["renewal"]["days"] == 41
    assert found["renewal"]["opt_out_days"] == 12
    assert found["renewal"]["price_step"]["days"] == 276
    assert found["usage"]["change"] == -0.25
    assert [one["signal"] for one in found["tasks"]] == ["lifecycle.nps_due"]
    page = markdown(found)
    for said in (
        "61 of 100, watch, -2 in 7 days, rests on 85% of what is asked for",
        "Held down most by adoption: 13 of 100 seats are active. Plan the roll-out.",
        "60 of 100 seats active: 72",
        "75 uses in 28 days (-25% on the 28 days before); 13 active users of 100 seats; last seen 2026-05-19",
        "2026-06-30, in 41 days, renews by itself.",
        "May opt out until 2026-06-01.",
        "Price +50 % on 2027-02-20, in 276 days.",
        "ARR 29,000.04 USD",
        "Rank 12.42: warning: usage.decline ×3.",
    ):
        assert said in page, said


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        ("open", {}, None),
        (
            "acknowledged",
            {"acknowledged_by": "ana", "acknowledged_at": NOW - 3 * DAY - DAY / 2, "assignee": "ben"},
            "acknowledged by Ana, 3 days ago; with ben",
        ),
        (
            "snoozed",
            {"snoozed_by": "ben", "snoozed_until": NOW + DAY, "snooze_reason": "away"},
            "snoozed until 05-21 by ben: away",
        ),
        (
            "acknowledged",
            {"outcome": "saved_by_concession", "closed_by": "ana", "closed_at": NOW - DAY},
            "saved by a concession (Ana, 1 day ago): the risk stays",
        ),
        (
            "closed",
            {"outcome": "false_alarm", "closed_by": "ben", "closed_at": NOW - dt.timedelta(hours=5)},
            "closed by ben, 5 hours ago: false alarm",
        ),
        # It was acknowledged before it escalated: that no longer holds.
        ("open", {"acknowledged_by": "ana", "acknowledged_at": NOW - DAY, "outcome": "saved_by_concession"}, None),
    ],
)
def test_what_people_said_is_told_in_words(status: Status, said: dict[str, Any], words: str | None) -> None:
    names = {"ana": "Ana"}
    found = in_words(
        status, Handling(**said), NOW, name=lambda one: names.get(str(one), str(one)), when=lambda at: f"{at:%m-%d}"
    )
    assert found == words


def test_texts_from_outside_stay_texts() -> None:
    assert plain("# a\n## [x](y) <b> `c` *d* | e_f") == r"\# a \#\# \[x\](y) \<b\> \`c\` \*d\* \| e\_f"
    assert len(plain("x" * 1000)) == 300
    page = markdown(told(profile={"name": "Acme\n# Not a heading"}))
    assert page.startswith("# Acme \\# Not a heading\n")


def test_history_that_was_cut_is_told() -> None:
    found = brief(known(), [event("training.attended", 6)], NOW, complete=False)
    assert found["history_since"] == NOW - 6 * DAY
    assert "history since 2026-05-14" in markdown(found)


EXAMPLES = [
    (type_, json.loads(path.read_text("utf-8"))["data"])
    for type_ in TYPES
    for path in sorted((Path(schemas.__file__).parent / "examples" / type_).glob("*.json"))
]
EVENTS = st.builds(
    lambda days, example: Event(NOW - days * DAY, *example), st.integers(0, 500), st.sampled_from(EXAMPLES)
)


@given(st.lists(EVENTS, max_size=30))
def test_whatever_may_happen_to_an_account_has_a_brief(events: list[Event]) -> None:
    assert {type_ for type_, _ in EXAMPLES} == set(TYPES)
    page = markdown(told(*events))
    assert page.startswith("# Acme\n")
    assert len(page.splitlines()) < 90


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/markdown", True),
        ("text/markdown, application/json;q=0.5", True),
        ("text/markdown;q=0.4, application/json", False),
        ("text/markdown;q=0", False),
        ("text/markdown;q=x", False),
        ("TEXT/Markdown; charset=utf-8, */*", True),
    ],
)
def test_markdown_is_given_to_whoever_asks_for_it(accept: str, wanted: bool) -> None:
    assert wants_markdown(accept) is wanted
