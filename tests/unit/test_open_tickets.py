"""Open tickets in the orders that signals ask for: the same as a look at all of them, and no dearer where there are many."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
import sys
from collections.abc import Iterator
from types import CodeType

import pytest

from services.signals.core.days import DAY_US
from services.signals.core.records import Ticket
from services.signals.core.state import MAX_OPEN_TICKETS, Account
from services.signals.core.support import LOAD, Reopened, load, next_crossing
from tests.partition import Partition

START = dt.datetime(2026, 3, 2, 8, tzinfo=dt.UTC)
KINDS = ("opened", "opened", "updated", "resolved", "closed", "reopened", "escalated", "responded")
PRIORITIES = ("P1", "P2", "P3", "P4")
CATEGORIES = ("how_to", "bug", "pricing")


def _event(number: int, kind: str, at: dt.datetime, ticket: str, **data: object) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": "desk",
            "type": f"ticket.{kind}",
            "subject": "acme",
            "time": at.isoformat(),
            "data": {"ticket_id": ticket, **data},
        }
    ).encode()


def _streams(rng: random.Random, tickets: int) -> Iterator[bytes]:
    """Steps of few tickets on few topics over months, many of them late."""
    at = START
    for number in itertools.count():
        at += dt.timedelta(hours=rng.choice([0, 1, 5, 30]))
        told = {
            "priority": rng.choice(PRIORITIES),
            "topic": rng.choice(["login", "export", "reports", None]),
            "category": rng.choice(CATEGORIES),
        }
        kind = rng.choice(KINDS)
        if kind == "updated":
            told = {name: value for name, value in told.items() if value and rng.random() < 0.5}
        late = at - dt.timedelta(days=rng.choice([0, 0, 0, 1, 14, 14, 40]))
        ticket = f"t{rng.randrange(tickets)}"
        yield _event(number, kind, late, ticket, **(told if kind in ("opened", "updated") else {}))


def _account(partition: Partition) -> Account:
    return partition.engine._account(b"acme")  # as it is under work: it is stored at the end of an effect


def _orders_are_right(account: Account, since: int) -> None:
    tickets, orders, now = account.hot.tickets, account.open_tickets, account.hot.clock
    assert orders.critical == sorted((t.critical_since, name) for name, t in tickets.items() if t.critical_since >= 0)
    assert orders.escalated == sorted(
        (t.escalated_at, name, t.escalated_event) for name, t in tickets.items() if t.escalated_at >= 0
    )
    for age in (0, DAY_US, 10 * DAY_US):
        ages = [now - t.critical_since for t in tickets.values() if t.critical_since >= 0]
        assert orders.critical_for(now, age) == sum(known >= age for known in ages)
        assert orders.next_critical_for(now, age) == min(
            (now - known + age for known in ages if known < age), default=0
        )
    for topic in ("login", "export", "reports", "never"):
        opened = [t.opened_at for t in tickets.values() if t.topic == topic]
        assert orders.on_topic_since(topic, since) == sum(at > since for at in opened)


def _windows_are_right(account: Account) -> None:
    support, now = account.dossier.support, account.hot.clock
    for days, before in ((14, 0), (30, 0), (90, 30)):
        until = now - before * DAY_US
        inside = {n: r for n, r in support.requests.items() if until - days * DAY_US < r.opened_at <= until}
        assert dict(support.within(now, days, before)) == inside
        assert load(support, now, days, before) == sum(LOAD[request.priority] for request in inside.values())
    leaving = [r.opened_at + days * DAY_US for r in support.requests.values() for days in (14, 90)]
    assert next_crossing(support, now, (14, 90)) == min((at for at in leaving if at > now), default=0)
    recent = {n: r for n, r in support.requests.items() if now - 30 * DAY_US < r.opened_at <= now}
    by_topic = {topic: [r for r in recent.values() if r.topic == topic] for topic in ("login", "export", "reports")}
    assert set(support.topics(now, 30, 2)) == {topic for topic, found in by_topic.items() if len(found) >= 2}
    for topic, found in by_topic.items():
        assert support.on_topic(topic, now, 30) == sorted((r.opened_at, r.event_id) for r in found)
    back = [known for known in support.reopened if now - 30 * DAY_US < known.at <= now]
    for name, request in recent.items():
        ends = (
            0 <= request.opened_at - at < 14 * DAY_US
            for other, solved in support.solved.items()
            for at in solved.ends
            if other != name and solved.topic == request.topic is not None
        )
        if any(ends):
            back.append(Reopened(request.opened_at, name, request.event_id))
    assert support.returns(now, 30, 14) == sorted(back, key=lambda known: (known.at, known.ticket_id))


@pytest.mark.parametrize("seed", range(4))
def test_each_order_is_that_of_a_look_at_all(seed: int) -> None:
    """After every event of a random stream, across effects and restarts."""
    rng = random.Random(seed)
    partition = Partition()
    start = round(START.timestamp() * 1e6)
    for number, event in enumerate(itertools.islice(_streams(rng, 60), 400)):
        partition.put(event)
        account = _account(partition)
        _orders_are_right(account, start + rng.randrange(40) * DAY_US)
        _windows_are_right(account)
        if number % 7 == 0:
            partition.take()
        if number % 90 == 89:
            partition.take()
            partition.restart()


def _with_open(count: int) -> Partition:
    """An account with so many open tickets of the last 20 days, after a restart: most are put into its record as they are."""
    partition = Partition()
    for n in range(30):
        topic = f"topic {n % 2}" if n > 2 else "asked of first, and still open"
        told = {"priority": PRIORITIES[n % 4], "topic": topic, "category": CATEGORIES[n % 3]}
        partition.put(_event(n, "opened", START + n * dt.timedelta(hours=16), f"t{n}", **told))
    hot = _account(partition).hot
    start = round(START.timestamp() * 1e6)
    for n in range(30, count):
        at, priority = start + n * 20 * DAY_US // count, PRIORITIES[n % 4]
        since, escalated = at if n % 4 < 2 else -1, at if n % 10 == 0 else -1
        ticket = Ticket(at, priority, at, since, True, at, f"e{n}", f"topic {n % 2}", escalated_at=escalated)
        hot.tickets[f"t{n}"] = ticket
        hot.openings.append((at, f"t{n}"))
    hot.openings.sort()
    partition.take()
    partition.restart()
    return partition


def _turns(partition: Partition) -> int:
    """How many turns of loops and calls of functions the steps of some tickets take, from the second on."""
    monitoring, tool = sys.monitoring, 4
    turns = 0

    def count(code: CodeType, *_: object) -> None:
        nonlocal turns
        turns += 1

    steps = [
        ("updated", "t40", {"priority": "P3"}),
        ("updated", "t40", {"priority": "P2", "topic": "topic 1"}),
        ("resolved", "t41", {}),
        ("opened", "new", {"priority": "P1", "topic": "topic 0"}),
        ("reopened", "t41", {}),
        ("escalated", "t42", {}),
        ("closed", "t43", {}),
        ("rated", "t43", {"score": 2}),
    ]
    at = START + dt.timedelta(days=20)
    monitoring.use_tool_id(tool, "turns")
    try:
        for event in (monitoring.events.JUMP, monitoring.events.PY_START):
            monitoring.register_callback(tool, event, count)
        for number, (kind, ticket, told) in enumerate(steps):
            step = _event(10**6 + number, kind, at + dt.timedelta(seconds=number), ticket, **told)
            monitoring.set_events(tool, monitoring.events.JUMP | monitoring.events.PY_START if number else 0)
            partition.put(step)
            monitoring.set_events(tool, 0)
    finally:
        monitoring.free_tool_id(tool)
    return turns


def test_an_event_is_no_dearer_where_more_tickets_are_open() -> None:
    """From 600 on: a burst remembers 500, which is as many as an event may look through."""
    few, many = _turns(_with_open(600)), _turns(_with_open(MAX_OPEN_TICKETS - 10))
    assert many < 1.02 * few, (few, many)
