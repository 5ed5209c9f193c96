"""Worked examples with numbers from the source texts: tickets on one topic, core use with surveys, the growth gap."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from schemas.signals import Transition
from services.signals.backtest.run import run
from tests.oracle.build import at, date

RUN_START = int(dt.datetime(2027, 1, 1, tzinfo=dt.UTC).timestamp() * 1e6)
Events = list[dict[str, Any]]


def event(kind: str, time: str, account: str, /, **data: Any) -> dict[str, Any]:
    """One event of an account."""
    return {"specversion": "1.0", "source": "crm", "type": kind, "subject": account, "time": time, "data": data}


def judged(events: Events, until: str) -> list[Transition]:
    """What the whole catalogue says about these events, by time, to the end of a day."""
    lines = [
        json.dumps({"id": f"e{n}", **event}).encode() for n, event in enumerate(sorted(events, key=lambda e: e["time"]))
    ]
    return list(run(lines, until=dt.date.fromisoformat(until), run_start_us=RUN_START))


def open_on(changes: list[Transition], signal: str) -> set[str]:
    """The accounts on which a signal is open at the end."""
    found: set[str] = set()
    for change in changes:
        if change.data.signal == signal:
            (found.discard if change.type == "signal.cleared" else found.add)(change.subject)
    return found


def test_three_tickets_on_reporting_without_any_usage() -> None:
    """A webinar last week and three tickets on reporting in two weeks, no usage data: the topic is named."""
    events = [
        event("ticket.opened", at(0), "acme", ticket_id="T1", priority="P3", topic="reporting"),
        event("ticket.opened", at(4), "acme", ticket_id="T2", priority="P3", topic="reporting"),
        event("training.attended", at(6), "acme", user="ana"),
        event("ticket.opened", at(8), "acme", ticket_id="T3", priority="P4", topic="login"),
        event("ticket.opened", at(12), "acme", ticket_id="T4", priority="P3", topic="reporting"),
    ]
    found = [change for change in judged(events, date(12)) if change.data.signal == "support.same_topic"]
    assert [(change.type, change.data.about) for change in found] == [("signal.raised", "reporting")]
    assert "3 tickets on reporting" in found[0].data.reason
    assert found[0].data.evidence[0].event_ids == ["e0", "e1", "e4"]


def core(account: str, week: int, count: int) -> dict[str, Any]:
    """Core use in a week, 0 being the one that begins on the first Monday of 2024."""
    return event("usage.feature_used", at(7 * week), account, feature="plan", core=True, count=count)


def half_a_year(account: str, *, down_to: int) -> Events:
    """25 core uses a week, and in the last one `down_to`: 75 and that against 100 half a year before."""
    weeks = [core(account, week, 25) for week in range(29)]
    return [*weeks, core(account, 29, down_to)]


def test_seventeen_accounts_with_core_decline_and_a_bad_survey_or_none() -> None:
    """17 with core use down by 20 % in six months and the survey unanswered or negative; near misses of both kinds."""
    events: Events = []
    for n in range(17):
        account = f"listed-{n:02}"
        events += half_a_year(account, down_to=5)
        survey = {"survey_id": "s", "kind": ("nps", "csat")[n % 2]}
        events.append(event("survey.sent", at(150), account, **survey))
        if n % 3:
            events.append(event("survey.answered", at(155), account, **survey, score=(6, 2)[n % 2], user="ana"))
    for account, down_to, score in (("used enough", 6, 2), ("content", 5, 7), ("nobody asked", 5, None)):
        events += half_a_year(account, down_to=down_to)
        if score is not None:
            events.append(event("survey.answered", at(155), account, survey_id="s", kind="nps", score=score, user="bo"))
    events += half_a_year("asked 13 days ago", down_to=5)
    events.append(event("survey.sent", at(197), "asked 13 days ago", survey_id="s", kind="nps"))
    for n in range(21):  # they are the smaller part of a portfolio: what all did would be nobody's decline
        events += half_a_year(f"steady-{n:02}", down_to=25)
    changes = judged(events, date(209))
    assert open_on(changes, "critical.usage_and_survey") == {f"listed-{n:02}" for n in range(17)}
    assert {change.time for change in changes if change.data.signal == "critical.usage_and_survey"} == {
        dt.datetime.fromisoformat(at(210, "00:00:00"))
    }


def test_ten_percent_where_the_segment_has_thirty() -> None:
    """+10 % in a segment that grows by 30 % on average is a gap of 20 points, and no risk."""
    events: Events = []
    for account, after in (
        ("behind", "1100.00"),
        ("a", "1300.00"),
        ("b", "1300.00"),
        ("c", "1400.00"),
        ("d", "1400.00"),
    ):
        events.append(event("account.updated", at(0), account, mrr="1000.00", industry="retail"))
        events.append(event("account.updated", at(200), account, mrr=after))
    changes = judged(events, date(380))
    gaps = [change for change in changes if change.data.signal == "growth.gap"]
    assert [(change.subject, change.type, change.data.kind) for change in gaps] == [
        ("behind", "signal.raised", "opportunity")
    ]
    assert "a gap of 20 points" in gaps[0].data.reason
    assert not [change for change in changes if change.subject == "behind" and change.data.kind == "risk"]
