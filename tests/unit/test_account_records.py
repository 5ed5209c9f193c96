"""An account's own records: which an effect writes, what a restart publishes from them, how large they are."""

from __future__ import annotations

import datetime as dt
import statistics
import sys
from typing import Any

import msgspec

from schemas.codec import decode_any
from schemas.envelope import Event
from services.demo import portfolio
from services.signals.core import codec
from services.signals.core.partition import HOT_BYTES, Effects
from tests.partition import Partition

AT = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)
USE = (
    b'{"specversion":"1.0","id":"use-%d","source":"t","type":"usage.feature_used","subject":"acme",'
    b'"time":"2026-03-02T09:00:%02dZ","data":{"feature":"f"}}'
)
USE_BY = USE.replace(b'"f"}', b'"f","user":"%s"}')
EPOCH = dt.date(1970, 1, 1)
PILOT = {"stage": "pilot", "csm": "maria", "pilot": {"start": "2026-03-02", "paid": True, "readiness": {}}}


class Bench(Partition):
    """Each event is an effect of its own, a second after the one before."""

    sent = 0

    def use(self, user: str) -> None:
        self.sent += 1
        self.put(USE_BY % (self.sent, self.sent, user.encode()))

    def say(self, kind: str, data: dict[str, Any], minute: int) -> Effects:
        self.sent += 1
        value = {"specversion": "1.0", "id": str(self.sent), "source": "t", "type": kind, "subject": "acme"}
        self.put(msgspec.json.encode({**value, "time": AT + dt.timedelta(minutes=minute), "data": data}))
        return self.take(float(self.sent))


def kinds(effects: Effects) -> set[bytes]:
    return {key[:1] for key, _ in effects.state if key[1:] == b"acme"}


def test_what_seldom_changes_is_written_when_it_changed_and_the_hot_record_last() -> None:
    bench = Bench()
    first = bench.say("account.updated", {"name": "Acme"}, 0)
    assert kinds(first) == {codec.COLD, codec.ACCOUNT}
    renamed = bench.say("account.updated", {"name": "Acme Limited"}, 1)
    assert kinds(renamed) == {codec.COLD, codec.ACCOUNT}
    assert kinds(bench.say("usage.feature_used", {"feature": "f"}, 2)) == {codec.ACCOUNT}
    raised = bench.say("account.updated", PILOT, 3)
    assert raised.signals
    assert [key[:1] for key, _ in raised.state if key[1:] == b"acme"][-1] == codec.ACCOUNT
    assert kinds(raised) >= {codec.COLD, codec.TOLD, codec.ACCOUNT}
    bench.restart()
    assert codec.COLD not in kinds(bench.say("usage.feature_used", {"feature": "f"}, 4))


def test_a_restart_publishes_what_the_last_effect_said_and_nothing_older() -> None:
    bench = Bench()
    said = bench.say("account.updated", PILOT, 0).signals
    assert said
    bench.restart()
    again = bench.take(1.0).signals
    assert [(topic, value) for topic, _, value, _ in again] == [(topic, value) for topic, _, value, _ in said]
    bench.say("usage.feature_used", {"feature": "f"}, 1)
    bench.restart()
    assert not bench.take(1.0).signals


def test_an_erased_account_has_nothing_left_in_any_record() -> None:
    bench = Bench()
    bench.say("account.updated", {"csm": "maria"}, 0)
    bench.say("account.contact_changed", {"contact_id": "c-1", "name": "Adam", "roles": ["champion"]}, 1)
    assert any(b"maria" in value or b"Adam" in value for value in bench.store.values())
    bench.say("account.erased", {}, 2)
    assert not any(b"maria" in value or b"Adam" in value for value in bench.store.values())


def test_the_hot_record_of_a_customer_stays_under_a_kilobyte() -> None:
    """Of a portfolio over half a year, every measure on, as a day's effect leaves it."""
    bench = Bench()
    for number, (_, raw) in enumerate(portfolio.simulate(30, 180, 1, dt.date(2026, 10, 1)).events):
        event = decode_any(raw)
        assert isinstance(event, Event)
        if event.subject is None:
            continue  # what is said to every account is in the partition's record
        bench.put(raw, event.subject.encode())
        if number % 200 == 0:
            bench.take(number / 20)  # health has its turn
    sizes = [len(value) for key, value in bench.store.items() if key[:1] == codec.ACCOUNT]
    assert len(sizes) >= 30
    assert statistics.median(sizes) < 900
    assert max(sizes) <= HOT_BYTES


def test_the_days_of_users_wait_in_the_hot_record_while_it_is_small() -> None:
    bench = Bench()
    small, long = [f"u{number}" for number in range(14)], [f"{number:02}" + "x" * 90 for number in range(14)]
    for user in small:
        bench.use(user)
    bench.take(1.0)
    assert codec.USER not in {key[:1] for key in bench.store}
    for user in long:
        bench.use(user)
    bench.take(2.0)
    assert len(bench.store[codec.ACCOUNT + b"acme"]) <= HOT_BYTES
    assert {key for key in bench.store if key[:1] == codec.USER} >= {
        codec.sub_key(codec.USER, b"acme", user) for user in long
    }
    bench.restart()
    account = bench.engine._account(b"acme")
    assert {bench.engine.active(account, user, -1) for user in (*small, *long)} == {AT.toordinal() - EPOCH.toordinal()}


def test_while_behind_health_waits_half_a_minute_but_for_what_is_told_at_once() -> None:
    bench = Bench()
    bench.say("usage.feature_used", {"feature": "f"}, 0)

    def told(at: float, *, behind: bool) -> int:
        bench.sent += 1
        bench.put(USE % (bench.sent, bench.sent))
        return len(bench.take(at, behind=behind).health)

    first = 100.0
    assert told(first, behind=True) == 1
    assert told(first + 29.9, behind=True) == 0
    assert told(first + 30.0, behind=True) == 1
    assert told(first + 34.9, behind=False) == 0
    assert told(first + 35.0, behind=False) == 1
    assert len(bench.say("account.updated", PILOT, 3).health) == 1, "an episode opened"


def test_deadlines_that_an_account_no_longer_has_take_no_memory() -> None:
    bench = Bench()
    bench.say("account.updated", {"name": "Acme"}, 0)
    account = bench.engine._accounts[b"acme"]
    named = len(account.hot.due)
    large = sys.getsizeof(account.hot.due)
    bench.say("usage.feature_used", {"feature": "f"}, 2 * 24 * 60)
    assert len(account.hot.due) < named / 2
    assert sys.getsizeof(account.hot.due) < large / 2
