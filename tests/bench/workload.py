"""The stated workload: what a product's back end sends about its customers' people, ~400 bytes an event, in time order.

Topic `usage`, by default 2 M events of 20 k accounts over 120 days. The account of each event is drawn anew from a Zipf
distribution (exponent 1), which is harder than sessions would be: neighbours in the log are different accounts. With
`uniform` every event is on another account than the ones before it, until all had their turn. 2 % of the events are late
by up to 3 days. Of 100 events about 62 are uses of a feature (40 % of them core), 22 page views, 8 logins, 5 errors
and 3 that value was reached. An account has one user per 40 of its expected events (at least one); page views and
logins come from its regulars, one per 500 expected events, so that few of them count as stuck. The members are those
that producers send: envelope, trace, and some that the product ignores.

Before the first event each account tells its profile once on topic `accounts` (`profiles`): without seats, tier and
pricing several signals would never be looked at, which would flatter.

With `steady` the accounts have the same sizes and say the same things, but each keeps a rhythm: it works in sessions of five
events or more, at its own hour of working days, its users by turns. Neighbours in the log are then often of one account, an
account is busy on fewer days, and what signals compare with its past changes little. It is reported beside the plain
form, never instead: the plain one is harder. `hot` has no part in it.

`midnights` puts a live clock tick on every input topic's partition at each midnight of the recorded time, as running
workers would have. Without it an account's clock is moved by its own events alone: the log is then what waits after an
outage, when nobody ticked. Midnights that lie between two events of an account are judged in both forms.

Dates are fixed: the same parameters give the same bytes on every run.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count
from typing import NamedTuple

import msgspec

from schemas.events import INPUT_TOPICS

FIRST_DAY = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
DAY_S = 86_400
LATE_SHARE = 0.02
LATE_DAYS = 3
CHUNK = 10_000
WORKING_DAYS = 5
SESSION = 5
EVENTS_A_USER, EVENTS_A_REGULAR = 40, 500
FEATURES = tuple(f"feature-{number:02}" for number in range(24))
CORE_FEATURES = 8
KINDS = ("feature", "page", "login", "error", "value")
SHARES = (62, 22, 8, 5, 3)
INDUSTRIES = ("software", "retail", "logistics", "health", "education", "finance")
BROADCAST = None


class Record(NamedTuple):
    """One record to append; a `key` of None goes to every partition of the topic."""

    topic: str
    key: bytes | None
    value: bytes


@dataclass(frozen=True)
class Workload:
    """See the module. `hot` gives that share of all events to one further account, `acct-hot`."""

    events: int = 2_000_000
    accounts: int = 20_000
    days: int = 120
    uniform: bool = False
    profiles: bool = True
    midnights: bool = False
    hot: float = 0.0
    seed: int = 1
    steady: bool = False

    def records(self) -> Iterator[Record]:
        """All of it in the order in which it is appended."""
        if self.profiles:
            yield from self._profiles()
        yield from self._sessions() if self.steady else self._usage()

    def count(self) -> int:
        """Records that are events, profiles included."""
        return self.events + (self.accounts + bool(self.hot) if self.profiles else 0)

    def expected(self) -> list[float]:
        """Expected events of each account, the most active first."""
        own = self.events * (1 - self.hot)
        if self.uniform:
            return [own / self.accounts] * self.accounts
        total = sum(1 / rank for rank in range(1, self.accounts + 1))
        return [own / rank / total for rank in range(1, self.accounts + 1)]

    def _profiles(self) -> Iterator[Record]:
        chance = random.Random(self.seed)
        at = (FIRST_DAY - dt.timedelta(hours=1)).isoformat().replace("+00:00", "Z")
        names = [(name_of(number), expected) for number, expected in enumerate(self.expected())]
        if self.hot:
            names.append(("acct-hot", self.events * self.hot))
        for number, (account, expected) in enumerate(names):
            users = 1 + int(expected / EVENTS_A_USER)
            start = FIRST_DAY.date() - dt.timedelta(days=chance.randrange(30, 700))
            data = {
                "name": f"Customer {number}",
                "tier": "high" if number < self.accounts // 10 else "low" if number < self.accounts // 2 else "tech",
                "industry": chance.choice(INDUSTRIES),
                "seats": max(1, round(users * chance.uniform(1.2, 1.9))),
                "mrr": f"{users * 40}.00",
                "currency": "EUR",
                "pricing": "per_seat",
                "contract_start": start.isoformat(),
                "renewal_date": (FIRST_DAY.date() + dt.timedelta(days=chance.randrange(20, 385))).isoformat(),
                "csm": f"csm-{number % 40}",
            }
            event = {
                "specversion": "1.0",
                "id": f"profile-{number}",
                "source": "crm",
                "type": "account.updated",
                "subject": account,
                "time": at,
                "data": data,
            }
            yield Record("accounts", account.encode(), msgspec.json.encode(event))

    def _usage(self) -> Iterator[Record]:
        chance = random.Random(self.seed + 1)
        expected = self.expected()
        weights = None if self.uniform else list(accumulate(expected))
        turn: list[int] = []
        dates = [(FIRST_DAY + dt.timedelta(days=day)).strftime("%Y-%m-%d") for day in range(-LATE_DAYS - 1, self.days)]
        clock = [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(DAY_S)]
        span_ms = self.days * DAY_S * 1000
        today = 0
        for first in range(0, self.events, CHUNK):
            size = min(CHUNK, self.events - first)
            if weights is None:
                while len(turn) < size:
                    round_ = list(range(self.accounts))
                    chance.shuffle(round_)
                    turn += round_
                drawn, turn = turn[:size], turn[size:]
            else:
                drawn = chance.choices(range(self.accounts), cum_weights=weights, k=size)
            kinds = chance.choices(KINDS, SHARES, k=size)
            for place, (number, kind) in enumerate(zip(drawn, kinds, strict=True)):
                index = first + place
                ms = index * span_ms // self.events
                if self.midnights and ms // (DAY_S * 1000) > today:
                    today = ms // (DAY_S * 1000)
                    yield from ticks(FIRST_DAY + dt.timedelta(days=today))
                roll = chance.random()
                if roll < LATE_SHARE:
                    ms -= int(roll / LATE_SHARE * LATE_DAYS * DAY_S * 1000)
                day, rest = divmod(ms, DAY_S * 1000)
                time = f"{dates[day + LATE_DAYS + 1]}T{clock[rest // 1000]}.{rest % 1000:03}Z"
                if self.hot and chance.random() < self.hot:
                    account, mean = "acct-hot", self.events * self.hot
                else:
                    account, mean = name_of(number), expected[number]
                yield _event(account, kind, chance.getrandbits(128), index, time, mean)

    def _sessions(self) -> Iterator[Record]:
        """As `_usage`, with a rhythm per account."""
        chance = random.Random(self.seed + 1)
        expected = self.expected()
        own = self.events / sum(expected) / (self.days * WORKING_DAYS / 7)
        hours = [chance.randrange(7, 18) for _ in expected]
        due = [chance.uniform(0, SESSION) for _ in expected]
        index = 0
        for number in count():  # what is over once all days have passed comes on the next ones
            day = FIRST_DAY + dt.timedelta(days=number)
            if day.weekday() >= WORKING_DAYS:
                continue
            if self.midnights:
                yield from ticks(day)
            found: list[tuple[int, int]] = []
            for account, mean in enumerate(expected):
                due[account] += mean * own
                if due[account] >= SESSION:
                    size = int(due[account])
                    due[account] -= size
                    began = hours[account] * 3_600_000 + chance.randrange(1_800_000)
                    step = min(20_000, 18_000_000 // size)
                    found += ((began + place * step, account) for place in range(size))
            found.sort()
            for ms, account in found[: self.events - index]:
                roll = chance.random()
                back = int(roll / LATE_SHARE * LATE_DAYS * DAY_S * 1000) if roll < LATE_SHARE else 0
                at = day + dt.timedelta(milliseconds=ms - back)
                time = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                kind = chance.choices(KINDS, SHARES)[0]
                yield _event(name_of(account), kind, chance.getrandbits(128), index, time, expected[account])
                index += 1
            if index == self.events:
                return


def _event(account: str, kind: str, bits: int, index: int, time: str, mean: float) -> Record:
    """One event of an account of which `mean` events are expected."""
    name, data = _data(kind, bits, int(mean / EVENTS_A_USER) + 1, int(mean / EVENTS_A_REGULAR))
    value = (
        f'{{"specversion":"1.0","id":"{bits:032x}","source":"app/eu-1","type":"{name}",'
        f'"subject":"{account}","time":"{time}",'
        f'"traceparent":"00-{bits ^ index:032x}-{index:016x}-01","data":{data}}}'
    )
    return Record("usage", account.encode(), value.encode())


def name_of(number: int) -> str:
    """The id of the account of that rank."""
    return f"acct-{number:07}"


def ticks(at: dt.datetime) -> Iterator[Record]:
    """A live tick for every partition of every input topic."""
    now = at.isoformat().replace("+00:00", "Z")
    head = {"specversion": "1.0", "id": f"tick-{now}", "source": "bench", "type": "clock.tick", "time": now}
    value = msgspec.json.encode(head | {"data": {"now": now, "historical": False}})
    for topic in INPUT_TOPICS:
        yield Record(topic, BROADCAST, value)


def _data(kind: str, bits: int, users: int, regulars: int) -> tuple[str, str]:
    """Type and data of one event; `bits` are its randomness."""
    user = f"user-{bits % 99_991 % users:05}@example.com"
    context = (
        f'"context":{{"ip":"10.{bits & 255}.{bits >> 8 & 255}.7","locale":"en-GB","version":"4.{bits >> 16 & 63}.0"}}'
    )
    if kind == "feature":
        number = bits >> 32 & 255
        feature = FEATURES[number % len(FEATURES)]
        core = str(number % 5 < 2).lower()
        return (
            "usage.feature_used",
            f'{{"feature":"{feature}","user":"{user}","count":1,"core":{core},"environment":"production",{context}}}',
        )
    if kind == "error":
        return "usage.error_seen", f'{{"user":"{user}","kind":"error","message":"timeout after 30 s",{context}}}'
    if kind == "value":
        return "usage.value_reached", f'{{"goal":"report sent","value":1,"user":"{user}",{context}}}'
    if regulars:
        user = f"user-{bits % 99_991 % regulars:05}@example.com"
    if kind == "login" and regulars:
        return "usage.logged_in", f'{{"user":"{user}","method":"sso",{context}}}'
    return "usage.page_viewed", f'{{"user":"{user}","page":"/projects/{bits >> 40 & 1023}/board",{context}}}'
