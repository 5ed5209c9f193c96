"""What is kept of contacts, mail and advocacy: it counts in its place whenever it is told, and stays inside its bounds."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from schemas.codec import decode_any
from services.common.recording import Line
from services.signals.backtest.run import Backtest
from services.signals.catalogue import load
from services.signals.catalogue.advocacy_review_candidate import SIGNAL
from services.signals.core import engagement as said
from services.signals.core.advocacy import KEPT_ACTS, KEPT_MOVES, Advocacy, Moved, count_day, note_act
from services.signals.core.codec import DOSSIER, decode_dossier
from services.signals.core.days import DAY_US, NEVER, midnight
from services.signals.core.engagement import Away, Engagement
from services.signals.core.mail import BOUNCED, CLICKED, KEPT_DAYS, MAX_READERS, OPENED, UNSUBSCRIBED, Mail
from services.signals.core.records import Ticket
from services.signals.core.signal import Context
from services.signals.core.state import Account, fresh_account
from services.signals.core.touches import KEPT_TOUCHES, Touch, Touches

NOW = midnight(20_000) + 12 * 3_600_000_000


def call(at: int, *, outbound: bool = True, answered: int = 1, kind: str = "call", executive: bool = False) -> Touch:
    return Touch(at, f"e{at}", kind, outbound, answered, "c1", executive)


def test_a_touch_told_late_counts_in_its_place() -> None:
    touches = Touches()
    touches.hold(call(NOW), "Sue")
    touches.hold(call(NOW - 9 * DAY_US, executive=True), "Carl")
    touches.hold(call(NOW - 4 * DAY_US), "Sue")
    assert (touches.latest(1), touches.latest(2), touches.latest(3)) == (NOW, NOW - 4 * DAY_US, NOW - 9 * DAY_US)
    assert touches.last_by == {"Sue": NOW, "Carl": NOW - 9 * DAY_US}
    assert touches.executive_at == NOW - 9 * DAY_US
    assert touches.latest(4) == -1


def test_an_unanswered_attempt_is_no_contact() -> None:
    touches = Touches()
    touches.hold(call(NOW, answered=0, executive=True), "Sue")
    assert touches.latest(1) == -1
    assert touches.executive_at == -1
    assert touches.last_by == {}


@pytest.mark.parametrize(
    ("touch", "reached"),
    [
        (call(NOW, answered=-1), False),
        (call(NOW, answered=1), True),
        (call(NOW, answered=0, outbound=False), False),
        (call(NOW, answered=-1, outbound=False), True),
        (call(NOW, answered=-1, kind="visit"), True),
        (call(NOW, answered=0, kind="visit"), False),
    ],
)
def test_who_was_reached(touch: Touch, reached: bool) -> None:
    assert touch.reached is reached


def test_bulk_mail_counts_only_where_it_is_asked_for() -> None:
    touches = Touches()
    touches.hold(call(NOW - DAY_US), "")
    touches.send(NOW)
    assert touches.latest(1) == NOW - DAY_US
    assert touches.latest(1, with_bulk=True) == NOW
    assert touches.latest(2, with_bulk=True) == NOW - DAY_US


def test_touches_stay_inside_their_bounds() -> None:
    touches = Touches()
    for n in range(100):
        touches.hold(call(NOW + n), f"person {n}")
        touches.send(NOW + n)
    assert len(touches.personal) == KEPT_TOUCHES
    assert touches.personal[-1].at == NOW + 99
    assert len(touches.bulk) == 8
    assert len(touches.last_by) == 20
    assert "person 99" in touches.last_by


def test_mail_is_counted_on_its_day_for_92_days() -> None:
    mail = Mail()
    today = 20_000
    for what, days_ago in ((OPENED, 0), (CLICKED, 89), (BOUNCED, 90), (UNSUBSCRIBED, 91), (OPENED, 92)):
        mail.count(what, today - days_ago, today)
    assert mail.sums(today, 90) == (1, 1, 0, 0)
    assert mail.sums(today, 92) == (1, 1, 1, 1)
    for later in range(300):
        mail.count(OPENED, today + later, today + later)
    assert len(mail.days) <= KEPT_DAYS


def test_a_reader_under_two_names_is_one() -> None:
    mail = Mail()
    mail.leave("c1", NOW, "left")
    mail.read("ana@acme.example", NOW + 1)
    both = mail.reader(lambda name: name in ("c1", "ana@acme.example"))
    assert not both.unsubscribed
    assert mail.reader(lambda name: name == "c1").unsubscribed
    assert both.leave_event == "left"


def test_who_bounces_is_remembered_longer_than_who_reads() -> None:
    mail = Mail()
    mail.bounce("sponsor", NOW, "b")
    for n in range(MAX_READERS):
        mail.read(f"reader {n}", NOW + 1 + n)
        if mail.over:
            mail.forget_one()
    assert len(mail.readers) == MAX_READERS
    assert "sponsor" in mail.readers
    assert "reader 0" not in mail.readers


def test_windows_of_learning_and_advocacy_say_when_they_change() -> None:
    engagement = Engagement()
    known, today = engagement.advocacy, 20_000
    assert said.trainings_attended(engagement, NOW) == (0, NEVER)
    assert said.community_activity(engagement, NOW) == (0, NEVER)
    assert said.advocacy_acts(engagement, NOW) == (0, NEVER)
    assert said.mail_response(engagement, NOW) == ((0, 0, 0, 0), NEVER)
    for days_ago in (0, 0, 179, 180):
        count_day(known.training, today - days_ago, today, 200)
    for days_ago in (89, 90):
        count_day(known.community, today - days_ago, today, 100)
    note_act(known.references, NOW - 365 * DAY_US)
    note_act(known.reviews, NOW - 365 * DAY_US + 1)
    note_act(known.referrals, NOW)
    assert said.trainings_attended(engagement, NOW) == (3, midnight(today + 1))
    assert said.community_activity(engagement, NOW) == (1, midnight(today + 1))
    assert said.advocacy_acts(engagement, NOW) == (2, NOW + 1)


def test_acts_and_moves_stay_inside_their_bounds() -> None:
    advocacy = Advocacy()
    for n in range(50):
        note_act(advocacy.references, NOW + n)
        advocacy.move(f"c{n}", Moved("Ana", "Globex", NOW + n, "e"))
    assert len(advocacy.references) == KEPT_ACTS
    assert len(advocacy.moved) == KEPT_MOVES
    assert "c49" in advocacy.moved
    advocacy.move("c49", Moved("Ana", "Initech", NOW, "late"))
    assert advocacy.moved["c49"].where == "Globex"


def test_out_of_office_ends_on_its_day() -> None:
    engagement = Engagement(away={"c1": Away(NOW, 20_002)})
    assert not engagement.away_at("c1", NOW - 1)
    assert engagement.away_at("c1", midnight(20_002) - 1)
    assert not engagement.away_at("c1", midnight(20_002))
    assert not engagement.away_at("c2", NOW)


def test_many_events_of_each_kind_leave_a_bounded_record() -> None:
    """Four hundred of each, all different: what is stored of them stays small, and what was dropped is counted."""
    kinds: dict[str, dict[str, object]] = {
        "touchpoint.held": {"kind": "call", "by": "{n}", "contact_id": "{n}"},
        "complaint.made": {"about": "team", "user": "{n}"},
        "mail.bounced": {"user": "{n}"},
        "mail.opened": {"user": "r{n}"},
        "training.attended": {"user": "{n}"},
        "community.active": {"user": "{n}"},
        "reference.given": {"user": "{n}"},
        "evaluation.announced": {"rival": "{n}"},
        "contact.away": {"contact_id": "{n}", "until": "2026-06-01"},
    }
    lines = []
    for n in range(400):
        time = dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=n)
        for kind, data in kinds.items():
            filled = {name: value.replace("{n}", f"x{n}") for name, value in data.items() if isinstance(value, str)}
            event = {"specversion": "1.0", "id": f"{kind}-{n}", "source": "t", "type": kind, "subject": "acme"}
            lines.append(json.dumps({**event, "time": time.isoformat(), "data": filled}).encode())
    run = Backtest(run_start_us=int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp() * 1e6))
    for _ in run.run(Line(line, decode_any(line)) for line in lines):
        pass
    assert run.counts["dead"] == 0
    state = {key: value for key, value in run.engine.take(0, 0.0).state if value is not None}
    stored = [(key, value) for key, value in {**run.store, **state}.items() if key[:1] == DOSSIER]
    assert len(stored) == 1
    key, value = stored[0]
    kept = decode_dossier(key, value).engagement
    assert len(kept.touches.personal) == KEPT_TOUCHES
    assert len(kept.complaints) == 20
    assert len(kept.mail.readers) == MAX_READERS
    assert len(kept.away) == 100
    assert len(kept.advocacy.training) <= 200
    assert len(value) < 40_000


@pytest.fixture
def account() -> Account:
    account = fresh_account(b"acme", NOW, 5)
    account.hot.score, account.hot.coverage = 86.0, 1.0
    return account


def candidate(account: Account) -> bool:
    context = Context(account, load(), NOW)
    context.p = SIGNAL.parameters("low")
    return SIGNAL.raises(context) is not None


def test_a_review_is_asked_for_above_85_without_tickets_and_reviews(account: Account) -> None:
    """Customer Success, law 4: health 85 and 86; with an open ticket; already reviewed. Only the second is a candidate."""
    assert candidate(account)
    account.hot.score = 85.0
    assert not candidate(account)
    account.hot.score = 85.1
    assert candidate(account)
    account.hot.tickets["t1"] = Ticket(NOW, "P4", NOW, -1, True, NOW, "e1")
    assert not candidate(account)
    account.hot.tickets.clear()
    note_act(account.dossier.engagement.advocacy.reviews, NOW - 900 * DAY_US)
    assert not candidate(account)


def test_a_review_is_not_asked_for_on_little_data(account: Account) -> None:
    account.hot.coverage = 0.49
    assert not candidate(account)
    account.hot.coverage = 0.5
    assert candidate(account)


@pytest.mark.parametrize(
    ("signal", "thresholds"),
    [
        ("advocacy.review_candidate", {"clear_below": 86}),
        ("lifecycle.csat_after_ticket", {"patience": 0}),
        ("lifecycle.csat_after_ticket", {"open_days": 46}),
        ("lifecycle.goals_survey", {"days": 30}),
        ("lifecycle.training_followup", {"days": 171}),
        ("relationship.touch_overdue", {"key_count": 0}),
        ("relationship.touch_overdue", {"key_count": 41}),
        ("relationship.unreachable", {"attempts": 0}),
        ("relationship.unreachable", {"attempts": 41}),
    ],
)
def test_thresholds_that_cannot_be_judged_by_are_refused(signal: str, thresholds: dict[str, int]) -> None:
    entry = load().by_id[signal]
    assert entry.refuses(entry.parameters("low")) == ""
    assert entry.refuses({**entry.parameters("low"), **thresholds})
