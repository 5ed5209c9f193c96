"""Seeded loads whose outcome does not depend on which topic's record is fetched first.

`Historical`: a recording of nasty events (every family of signals, late, repeated, broken, poison), numbered by
`sequence` as a replay numbers them, with a tick at every midnight. The order is in the records: exact at any rate, under
any fault. `Live`: what happens now, without numbers, and the engine ticks by itself. There the order of two topics is
exact only behind the live edge, so one account's events on different topics are `APART_S` seconds apart.

Both send records of any kind at a bounded rate through an idempotent producer that outlives a broker for minutes.
A producer's retry after a lost answer is a record of its own with the same bytes: some records are sent twice.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from confluent_kafka import Producer

from services.common.kafka import partition_of
from tests.faults.log import TICKS_AND_EVENTS
from tests.oracle.generate import FAMILIES, START, Writer, arrange
from tests.oracle.records import DAY, SECOND, iso, us

APART_S = 3.0
TOPIC_OF = {"usage": "usage", "ticket": "tickets", "invoice": "invoices", "account": "accounts", "survey": "engagement"}


class Message(NamedTuple):
    """One record to send; `key` None goes to every partition. `after` is seconds since the load began, None at once."""

    topic: str
    key: bytes | None
    value: bytes
    sequence: int | None = None
    after: float | None = None


class Load(Protocol):
    """What a sender sends."""

    headers: list[tuple[str, bytes]]
    poison: frozenset[str]
    """Ids of events on which the engine is made to crash."""

    def messages(self) -> Iterator[Message]:
        """The records in the order in which they are appended."""

    def closing(self) -> Iterator[Message]:
        """The ticks after which everything was judged, and every account's health is said."""


def tick(now: int, *, historical: bool) -> bytes:
    """A tick of the clock; `now` in microseconds since 1970."""
    envelope = {"specversion": "1.0", "id": f"tick-{now}-{historical}", "source": "load", "type": "clock.tick"}
    return json.dumps({**envelope, "time": iso(now), "data": {"now": iso(now), "historical": historical}}).encode()


def to_all(value: bytes, sequence: int | None = None) -> Iterator[Message]:
    """One record on every input topic."""
    return (Message(topic, None, value, sequence) for topic in TICKS_AND_EVENTS)


class Historical:
    """A recording of at least `events` events of many accounts over `days` days.

    `late` is the share of events that arrive late, `poison` the number of events that crash the engine (which must be
    told so: see `FaultRun`).
    """

    def __init__(self, events: int, *, seed: int = 1, days: int = 60, late: float = 0.15, poison: int = 0) -> None:
        chance = random.Random(seed)
        written: list[dict[str, Any]] = []
        number = 0
        while len(written) < events:
            writer = Writer(chance, f"account-{number}", days)
            for family in chance.sample(sorted(FAMILIES), chance.randint(3, 6)):
                FAMILIES[family](writer)
            written += [e for e in writer.events if us(e["time"]) < START + days * DAY]
            number += 1
        self.poison = frozenset(f"crash-{n}" for n in range(poison))
        for name in sorted(self.poison):
            bad = dict(chance.choice([e for e in written if e["type"].startswith("usage.")]))
            written.append({**bad, "id": name, "time": iso(START + chance.randrange(days * DAY))})
        run_start = START + 10_000 * DAY
        self.lines = arrange(seed, chance, written, lateness=late, days=days).lines
        for refused in (START - 500 * DAY, run_start + 3 * DAY):  # too old, future
            event = {"specversion": "1.0", "id": f"at-{refused}", "source": "app", "type": "usage.feature_used"}
            event |= {"subject": "account-0", "time": iso(refused), "data": {"feature": "reports", "count": 1}}
            self.lines.insert(len(self.lines) // 2, event)
        unheard = {"specversion": "1.0", "id": "unheard", "source": "app", "type": "usage.unheard_of", "data": {}}
        self.lines.insert(len(self.lines) // 3, {**unheard, "subject": "account-1", "time": iso(START)})
        self.headers = [("run-start", b"%d" % run_start)]
        self._run_start = run_start
        self._chance = chance

    def messages(self) -> Iterator[Message]:
        """As a replay sends them: each midnight before the first event at or past it, and live ticks that end it."""
        chance = random.Random(len(self.lines))
        sequence = 0
        ticked = START - DAY
        yield from to_all(tick(ticked, historical=True), sequence)
        for line in self.lines:
            sequence += 1
            if isinstance(line, bytes):
                yield Message("usage", b"account-%d" % chance.randrange(9), line, sequence)
                continue
            midnight = us(line["time"]) // DAY * DAY
            if ticked < midnight <= self._run_start:
                ticked = midnight
                yield from to_all(tick(ticked, historical=True), sequence)
                sequence += 1
            message = Message(
                TOPIC_OF[line["type"].partition(".")[0]], line["subject"].encode(), json.dumps(line).encode(), sequence
            )
            yield message
            if chance.random() < 0.02 and line["id"] not in self.poison:  # the answer was lost, and it was sent again
                sequence += 1
                yield message._replace(sequence=sequence)
        yield from to_all(tick(ticked + DAY, historical=True), sequence + 1)
        yield from to_all(tick(ticked + DAY, historical=False))
        self._closing = ticked + 2 * DAY

    def closing(self) -> Iterator[Message]:
        """One live midnight more."""
        yield from to_all(tick(self._closing, historical=False))


class Live:
    """`accounts` accounts that do something every `APART_S` seconds each, for `seconds` seconds from now."""

    def __init__(self, accounts: int, seconds: float, *, seed: int = 1) -> None:
        self.headers: list[tuple[str, bytes]] = []
        self.poison: frozenset[str] = frozenset()
        self._accounts = accounts
        self._turns = int(seconds / APART_S)
        self._chance = random.Random(seed)

    def messages(self) -> Iterator[Message]:
        """Turn by turn; the events of one turn of an account are on one topic, a few milliseconds apart."""
        chance, started = self._chance, time.time()
        for turn in range(self._turns):
            for number in range(self._accounts):
                after = (turn + number / self._accounts) * APART_S
                kinds = self._story(f"account-{number}", turn)
                for place, (kind, data) in enumerate(kinds):
                    event = {
                        "specversion": "1.0",
                        "id": f"{number}-{turn}-{place}",
                        "source": "app",
                        "type": kind,
                        "subject": f"account-{number}",
                        "time": iso(round((started + after) * SECOND) + place),
                        "data": data,
                    }
                    topic = TOPIC_OF[kind.partition(".")[0]]
                    message = Message(topic, b"account-%d" % number, json.dumps(event).encode(), None, after)
                    yield message
                    if chance.random() < 0.02:
                        yield message

    def _story(self, account: str, turn: int) -> list[tuple[str, dict[str, Any]]]:
        """What the account does in its turn: things that are judged at once."""
        chance = self._chance
        dice = chance.random()
        user = f"u{chance.randrange(5)}"
        if turn == 0:
            soon = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=chance.choice([20, 100, 300]))
            return [("account.updated", {"tier": chance.choice(["high", "low"]), "renewal_date": soon.isoformat()})]
        if dice < 0.2:
            score = chance.choice([2, 5, 9])
            return [("survey.answered", {"survey_id": f"s{turn}", "kind": "nps", "score": score, "user": user})]
        if dice < 0.4:
            ticket = f"t{turn}"
            return [
                ("ticket.opened", {"ticket_id": f"{ticket}-{n}", "priority": chance.choice(["P1", "P3"])})
                for n in range(chance.choice([1, 3, 6]))
            ]
        if dice < 0.5:
            roles = chance.choice([["champion"], ["executive_sponsor"], []])
            return [("account.contact_changed", {"contact_id": "c1", "roles": roles})]
        if dice < 0.6:
            return [("account.contact_left", {"contact_id": "c1"})]
        return [
            ("usage.feature_used", {"feature": "reports", "count": chance.randrange(9), "user": user})
            for _ in range(chance.randint(1, 4))
        ]

    def closing(self) -> Iterator[Message]:
        """The next midnight, which is not yet the future that is refused."""
        now = time.time_ns() // 1000
        yield from to_all(tick((now // DAY + 1) * DAY, historical=False))


class Sender:
    """Sends a load in a thread of its own, at most `rate` records a second. `join` returns once all is acknowledged."""

    def __init__(self, bootstrap: str, load: Load, *, rate: float, partitions: int) -> None:
        self.sent = 0
        self._load = load
        self._rate = rate
        self._partitions = partitions
        self._enough = threading.Event()
        self._failure: BaseException | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 5,
                "enable.idempotence": True,
                "message.timeout.ms": 300_000,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether everything was sent and acknowledged."""
        return not self._thread.is_alive()

    def hurry(self) -> None:
        """Send what is left as fast as the broker takes it: a load outlasts its faults on any machine, and then ends."""
        self._rate = 5000.0

    def stop(self) -> None:
        """Send no more of it."""
        self._enough.set()

    def join(self) -> None:
        """Wait until everything was acknowledged. Raises what went wrong."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            started = time.monotonic()
            for message in self._load.messages():
                if self._enough.is_set():
                    break
                while (wait := started + self._due(message) - time.monotonic()) > 0.01:
                    self._producer.poll(min(wait, 0.2))
                self.send(message)
            self.flush()
        except BaseException as failure:  # told to whoever joins
            self._failure = failure

    def _due(self, message: Message) -> float:
        return self.sent / self._rate if message.after is None else message.after

    def send(self, message: Message) -> None:
        """Hand one record to the producer, to every partition where it has no key."""
        headers = list(self._load.headers)
        if message.sequence is not None:
            headers.append(("sequence", b"%d" % message.sequence))
        numbers = range(self._partitions)
        for number in numbers if message.key is None else [partition_of(message.key, self._partitions)]:
            while True:
                try:
                    self._producer.produce(message.topic, message.value, message.key, partition=number, headers=headers)
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self.sent += 1
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until everything handed over is acknowledged."""
        left = self._producer.flush(240)
        assert left == 0, f"{left} records of the load were not acknowledged"

    def close_with(self, messages: Iterator[Message]) -> None:
        """Send these last, once the load itself is done."""
        for message in messages:
            self.send(message)
        self.flush()
