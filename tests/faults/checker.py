"""An independent verdict on what the engine wrote: everything is counted again from the input log by brute force.

It shares no code with the engine. From the input topics, read whole, it walks each partition's records in the one order
that the contract gives them, and counts for each topic-partition what became of them; `tests/oracle` recounts each
account from the bare list of its events after every event and at every instant. Then it compares:

* conservation: records − ticks = applied + duplicate + dead-lettered, per topic-partition, as the partition's own record
  in the changelog has it, and the positions in it: the whole log was applied;
* dead letters: one source place each, the right reason, the bytes untouched. Repeats of a place are allowed;
* transitions, by id: none lost, none different, none more; a repeat of an id must have identical bytes;
* health, the record of the greatest sequence: windows, days of use, open episodes, clock; and that it is there.

The order that is checked is that of `docs/delivery.md`: by `sequence` while a partition is historical, else by event time
and then by topic. A live engine follows it exactly only behind the live edge, so a load must not let two topics race for
one account: either it is historical, or an account's events on different topics are seconds apart (`load.py` does so).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.faults.log import SIGNALS, TICKS_AND_EVENTS, Log, Stored
from tests.oracle.facts import Facts, windows
from tests.oracle.oracle import RISKS, Account, Change
from tests.oracle.records import DAY, HOUR, Record, day_of, iso, us, week_of_day

EQUAL_TIMES = ("accounts", "invoices", "tickets", "engagement", "usage")
"""Live records of one time are applied in this order of their topics."""

HEADER = struct.Struct("<BBIQq")
"""Every state record begins with: format, kind, the writer's epoch, number of the effect, next due instant."""

OWN_KEY = b"p"
OWN_FIELDS = ("partitions", "effect", "applied", "clocks", "historical", "records", "ticks")
OWN_FIELDS += ("applied_count", "duplicate", "dead", "unchecked", "dead_by_reason")
"""The first members of a partition's own record, which is a msgpack array."""

COUNTS = ("records", "ticks", "applied_count", "duplicate", "dead", "unchecked")
MANY = 12
"""Problems of one kind that are listed; the rest is counted."""


@dataclass
class Expected:
    """What must have come of one input log."""

    counts: dict[int, dict[str, Counter[str]]] = field(default_factory=dict)
    """Per partition and kind of count, by topic."""
    reasons: dict[int, Counter[str]] = field(default_factory=dict)
    last_offset: dict[tuple[int, str], int] = field(default_factory=dict)
    clocks: dict[int, dict[str, int]] = field(default_factory=dict)
    letters: dict[tuple[str, int, int], tuple[str, bytes | None]] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    episodes: dict[str, dict[str, tuple[str, str, str]]] = field(default_factory=dict)
    """Per account its open episodes: id to signal, user, severity."""
    named: set[str] = field(default_factory=set)
    """Accounts that any record named, accepted or not."""


class Identities:
    """Episode and transition ids of one account, by the formula of the contract."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._told = 0
        self._erasures = 0
        self._base: Counter[tuple[str, str]] = Counter()
        self._changes: Counter[tuple[str, str, int]] = Counter()

    def new(self) -> Iterable[tuple[str, Change]]:
        """The changes since the last call with their transition ids."""
        for change in self._account.changes[self._told :]:
            place = (change.signal, change.subject, change.ordinal)
            self._changes[place] += 1
            yield f"{self.episode(*place)}-{self._changes[place]}", change
        self._told = len(self._account.changes)

    def episode(self, signal: str, subject: str, ordinal: int) -> str:
        """Identity of an episode: ordinals begin again when the account was erased."""
        ordinal -= self._base[signal, subject]
        parts = (self._account.name, str(self._erasures), signal, subject, str(ordinal))
        return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()

    def erased(self) -> None:
        """The account was erased, and its changes were taken with `new`."""
        self._erasures += 1
        self._base = Counter(self._account.ordinals)


def expect(inputs: Iterable[Stored], *, poison: frozenset[str] = frozenset()) -> Expected:
    """Recount an input log. Events whose id is in `poison` must have become dead letters of that reason."""
    partitions: dict[int, dict[str, list[Stored]]] = defaultdict(lambda: {topic: [] for topic in TICKS_AND_EVENTS})
    for record in inputs:
        partitions[record.partition][record.topic].append(record)
    expected = Expected()
    for number, topics in sorted(partitions.items()):
        Walk(number, expected, poison).run(in_order(topics))
    return expected


@dataclass
class Parsed:
    """An input record with what it says, None where that is not JSON."""

    record: Stored
    event: dict[str, Any] | None

    @property
    def is_tick(self) -> bool:
        """Whether it is a tick of the clock."""
        return self.record.key is None and self.event is not None and self.event.get("type") == "clock.tick"

    @property
    def sequence(self) -> int | None:
        """Its place in the replayed file."""
        said = self.record.headers.get("sequence")
        return None if said is None else int(said)


def parsed(record: Stored) -> Parsed:
    """The record's JSON object, where it is one."""
    try:
        event = json.loads(record.value or b"")
    except ValueError:
        event = None
    return Parsed(record, event if isinstance(event, dict) else None)


def in_order(topics: dict[str, list[Stored]]) -> list[Parsed]:
    """The records of one partition in the order in which they are to be applied."""
    keyed: list[tuple[tuple[int, int], int, int, Parsed]] = []
    for topic, records in topics.items():
        historical = False
        top = (0, -1)
        for record in sorted(records, key=lambda record: record.offset):
            item = parsed(record)
            key = top
            if item.is_tick:
                assert item.event is not None
                historical = bool(item.event["data"].get("historical"))
            if historical and item.sequence is not None:
                key = (0, item.sequence)
            elif not historical and item.event is not None and not why_refused(item):
                if item.is_tick:
                    key = (1, 2 * us(item.event["data"]["now"]))
                else:  # one that is late follows, on every topic, the tick that it came after
                    key = max((1, 2 * us(item.event["time"]) + 1), (top[0], top[1] | 1))
            top = max(top, key)
            keyed.append((top, EQUAL_TIMES.index(topic), record.offset, item))
    keyed.sort(key=lambda entry: entry[:3])
    return [entry[3] for entry in keyed]


def why_refused(item: Parsed) -> str | None:
    """The reason for which a record cannot even be decoded. Loads have no other mistakes than these."""
    event = item.event
    if event is None:
        return "malformed"
    prefix = {"usage": "usage.", "tickets": "ticket.", "invoices": "invoice.", "accounts": "account."}
    known = prefix.get(item.record.topic, ("survey.", "training."))
    if not item.is_tick and (not str(event["type"]).startswith(known) or "unheard" in event["type"]):
        return "unknown_type"
    return None


class Walk:
    """One partition's records, applied one after another."""

    def __init__(self, number: int, expected: Expected, poison: frozenset[str]) -> None:
        self._number = number
        self._poison = poison
        self._expected = expected
        self._counts: dict[str, Counter[str]] = {kind: Counter() for kind in COUNTS}
        self._reasons: Counter[str] = Counter()
        self._clocks = dict.fromkeys(TICKS_AND_EVENTS, 0)
        self._clock = 0
        self._accounts: dict[str, Account] = {}
        self._identities: dict[str, Identities] = {}
        self._seen: dict[tuple[str, str, str], list[int]] = {}
        expected.counts[number] = self._counts
        expected.reasons[number] = self._reasons
        expected.clocks[number] = self._clocks

    def run(self, items: list[Parsed]) -> None:
        """Apply them all."""
        for place, item in enumerate(items):
            record = item.record
            self._counts["records"][record.topic] += 1
            last = self._expected.last_offset.get((self._number, record.topic), -1)
            self._expected.last_offset[self._number, record.topic] = max(last, record.offset)
            if record.key is not None:
                self._expected.named.add(record.key.decode())
            kind, reason = self._apply(place, item)
            self._counts[kind][record.topic] += 1
            if reason is not None:
                self._reasons[reason] += 1
                where = (record.topic, self._number, record.offset)
                self._expected.letters[where] = (reason, record.value)
        for name, account in self._accounts.items():
            self._tell(name)
            self._expected.accounts[name] = account
            self._expected.episodes[name] = {
                self._identities[name].episode(signal, subject, episode.ordinal): (signal, subject, episode.severity)
                for (signal, subject), episode in account.open.items()
            }

    def _apply(self, place: int, item: Parsed) -> tuple[str, str | None]:
        """What the record counts as, and the reason where it is refused."""
        record, event = item.record, item.event
        reason = why_refused(item)
        if reason is not None:
            return "dead", reason
        assert event is not None
        if event["id"] in self._poison:
            return "dead", "poison"
        started = record.headers.get("run-start")
        latest = (record.appended * 1000 if started is None else int(started)) + DAY
        if item.is_tick:
            now = us(event["data"]["now"])
            if now > latest:
                return "dead", "future"
            self._clocks[record.topic] = max(self._clocks[record.topic], now)
            self._advance(min(self._clocks.values()))
            return "ticks", None
        t = us(event["time"])
        if t > latest:
            return "dead", "future"
        name = event["subject"]
        known = self._accounts.get(name)
        clock = self._clock if known is None else known.clock
        if record.topic == "usage" and week_of_day(day_of(clock)) - week_of_day(day_of(t)) >= 56:
            return "dead", "too_old"
        identity = (name, event["source"], event["id"])
        if t < clock - 24 * HOUR:
            self._counts["unchecked"][record.topic] += 1
        elif any(before >= clock - 24 * HOUR for before in self._seen.get(identity, [])):
            return "duplicate", None
        self._seen.setdefault(identity, []).append(t)
        if known is None:
            known = self._accounts[name] = Account(name, clock)
            self._identities[name] = Identities(known)
        in_days = day_of(clock) - day_of(t) < 92
        known.apply(Record(place, name, event["source"], event["id"], event["type"], t, event["data"], in_days))
        if event["type"] == "account.erased":
            self._tell(name)
            self._identities[name].erased()
            self._seen = {key: times for key, times in self._seen.items() if key[0] != name}
        return "applied_count", None

    def _advance(self, clock: int) -> None:
        if clock > self._clock:
            self._clock = clock
            for account in self._accounts.values():
                account.advance(clock)

    def _tell(self, name: str) -> None:
        self._expected.changes.update(self._identities[name].new())


@dataclass
class Verdict:
    """What is wrong, empty if nothing is; and the figures of the run."""

    problems: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)

    def add(self, problems: list[str]) -> None:
        """Take up problems of one kind, not all of very many."""
        self.problems += problems[:MANY]
        if len(problems) > MANY:
            self.problems.append(f"… and {len(problems) - MANY} more of these")


def check(log: Log, *, poison: frozenset[str] = frozenset()) -> Verdict:
    """Compare everything that the engine wrote with what must have come of its input log."""
    return compare(expect(log.inputs, poison=poison), log)


def compare(expected: Expected, log: Log) -> Verdict:
    """As `check`, of an input log that was recounted already."""
    verdict = Verdict()
    verdict.add(wrong_counts(expected, log.changelog))
    verdict.add(wrong_accounts(expected, log.changelog))
    verdict.add(wrong_letters(expected, log.dead_letters))
    verdict.add(wrong_transitions(expected, log.signals))
    verdict.add(wrong_health(expected, log.health))
    totals: Counter[str] = Counter()
    for counts in expected.counts.values():
        for kind, by_topic in counts.items():
            totals[kind] += by_topic.total()
    verdict.figures = {
        **totals,
        "accounts": len(expected.accounts),
        "transitions": len(expected.changes),
        "repeats": len(log.signals) - len({(record.topic, id_of(record)) for record in log.signals}),
        "repeated_letters": len(log.dead_letters) - len({place_of(letter) for letter in log.dead_letters}),
        "open_episodes": sum(map(len, expected.episodes.values())),
        "effects": sum(own["effect"] for own in own_records(log.changelog).values()),
        "state_records": len(log.changelog),
    }
    return verdict


# -- state: the changelog -------------------------------------------------------------------------------------------


def standing(changelog: list[Stored]) -> dict[int, dict[bytes, Stored]]:
    """Per partition the last record of each key that was not written by a worker that had lost the partition.

    In the order of the log epochs only rise: a record of a lower epoch than one before it does not count.
    """
    newest: dict[int, int] = {}
    found: dict[int, dict[bytes, Stored]] = defaultdict(dict)
    for record in sorted(changelog, key=lambda record: (record.partition, record.offset)):
        number, said = record.partition, record.headers.get("epoch")
        assert record.key is not None
        if said is not None:
            epoch = int(said)
        else:
            assert record.value is not None, f"a deletion without an epoch at {number}:{record.offset}"
            epoch = HEADER.unpack_from(record.value)[2]
        if epoch < newest.get(number, 0):
            continue
        newest[number] = epoch
        if record.value is None:
            found[number].pop(record.key, None)
        else:
            found[number][record.key] = record
    return found


def own_record(value: bytes) -> dict[str, Any]:
    """A partition's own record: positions, clocks and counts by topic. Raises ValueError where it is not one."""
    body = msgspec.msgpack.decode(value[HEADER.size :])
    if not isinstance(body, list) or len(body) < len(OWN_FIELDS) or value[1:2] != OWN_KEY:
        raise ValueError(f"not a partition's record as the checker knows it (format {value[0]}): {body!r:.200}")
    return dict(zip(OWN_FIELDS, body, strict=False))


def own_records(changelog: list[Stored]) -> dict[int, dict[str, Any]]:
    """The partitions' own records as they stand."""
    return {
        number: own_record(records[OWN_KEY].value or b"")
        for number, records in standing(changelog).items()
        if OWN_KEY in records
    }


def wrong_counts(expected: Expected, changelog: list[Stored]) -> list[str]:
    """Positions, clocks and conservation, per topic-partition."""
    found = own_records(changelog)
    wrong = []
    for number, counts in expected.counts.items():
        own = found.get(number)
        if own is None:
            wrong.append(f"partition {number} has no record of its own in the changelog")
            continue
        for index, topic in enumerate(TICKS_AND_EVENTS):
            place = f"{topic}-{number}"
            has = {kind: own[kind][index] for kind in COUNTS}
            if has["records"] - has["ticks"] != has["applied_count"] + has["duplicate"] + has["dead"]:
                wrong.append(f"{place}: records are not conserved: {has}")
            for kind in COUNTS:
                if has[kind] != counts[kind][topic]:
                    wrong.append(f"{place}: {kind} is {has[kind]}, the log gives {counts[kind][topic]}")
            last = expected.last_offset.get((number, topic), -1)
            if own["applied"][index] != last:
                wrong.append(f"{place}: applied up to {own['applied'][index]}, the log ends at {last}")
            if own["clocks"][index] != expected.clocks[number][topic]:
                wrong.append(
                    f"{place}: clock {iso(own['clocks'][index])}, {iso(expected.clocks[number][topic])} ticked"
                )
        reasons = {reason: count for reason, count in own["dead_by_reason"].items() if count}
        if reasons != dict(expected.reasons[number]):
            wrong.append(
                f"partition {number}: dead by reason {reasons}, the log gives {dict(expected.reasons[number])}"
            )
    return wrong


def wrong_accounts(expected: Expected, changelog: list[Stored]) -> list[str]:
    """Each account that must have state has it, in one partition."""
    homes: dict[str, list[int]] = defaultdict(list)
    for number, records in standing(changelog).items():
        for key in records:
            if key[:1] == b"a":
                homes[key[1:].decode()].append(number)
    wrong = [f"account {name} has state in partitions {where}" for name, where in homes.items() if len(where) > 1]
    wrong += [f"account {name} has no state" for name in sorted(expected.accounts.keys() - homes.keys())]
    wrong += [f"account {name} has state and no event" for name in sorted(homes.keys() - expected.named)]
    return wrong


# -- what was said --------------------------------------------------------------------------------------------------


def place_of(letter: Stored) -> tuple[str, int, int]:
    """Source topic, partition and offset: a dead letter's identity."""
    said = letter.headers
    return said["source_topic"].decode(), int(said["source_partition"]), int(said["source_offset"])


def wrong_letters(expected: Expected, letters: list[Stored]) -> list[str]:
    """Every refused record is there by its place, with its reason and its bytes; no other is."""
    wrong = []
    found: set[tuple[str, int, int]] = set()
    for letter in letters:
        place = place_of(letter)
        found.add(place)
        if place not in expected.letters:
            wrong.append(f"dead letter of {place} ({letter.headers['reason'].decode()}), which is a good record")
            continue
        reason, value = expected.letters[place]
        if letter.headers["reason"].decode() != reason:
            wrong.append(f"dead letter of {place}: {letter.headers['reason'].decode()}, should be {reason}")
        if letter.value != value:
            wrong.append(f"dead letter of {place}: its bytes are not the record's")
    return wrong + [
        f"no dead letter of {place} ({expected.letters[place][0]})" for place in expected.letters.keys() - found
    ]


def id_of(record: Stored) -> str:
    """A transition's id."""
    return str(json.loads(record.value or b"{}")["id"])


def wrong_transitions(expected: Expected, signals: list[Stored]) -> list[str]:
    """Transitions by id: lost, different, more than there should be, or one id with other bytes."""
    wrong = []
    first: dict[str, Stored] = {}
    for record in signals:
        identity = id_of(record)
        known = first.setdefault(identity, record)
        if known is not record:
            if (known.topic, known.key, known.value) != (record.topic, record.key, record.value):
                wrong.append(f"transition {identity} was published again with other bytes")
            continue
        if identity not in expected.changes:
            wrong.append(f"transition {identity} should not be: {told(record)}")
        elif difference := different(expected.changes[identity], record):
            wrong.append(f"transition {identity}: {difference}")
    lost = [f"transition {name} is lost: {change}" for name, change in expected.changes.items() if name not in first]
    return wrong + sorted(lost)


def told(record: Stored) -> str:
    """A published transition in a few words."""
    change = json.loads(record.value or b"{}")
    data = change["data"]
    return " ".join(map(str, (change["time"], change["subject"], data["signal"], change["type"], data["severity"])))


def different(change: Change, record: Stored) -> str | None:
    """In what a published transition is not the expected change."""
    found = json.loads(record.value or b"{}")
    data = found["data"]
    wanted = {
        "topic": SIGNALS[0] if change.signal in RISKS else SIGNALS[1],
        "key": change.account,
        "subject": change.account,
        "type": f"signal.{change.type}",
        "time": change.time,
        "signal": change.signal,
        "user": change.subject,
        "severity": change.severity,
        "opened_at": change.opened_at,
        "because": change.because,
    }
    has = {
        "topic": record.topic,
        "key": (record.key or b"").decode(),
        "subject": found["subject"],
        "type": found["type"],
        "time": us(found["time"]),
        "signal": data["signal"],
        "user": data.get("user", ""),
        "severity": data["severity"],
        "opened_at": us(data["opened_at"]),
        "because": data.get("cleared_because"),
    }
    wrong = [f"{name} is {has[name]!r}, should be {wanted[name]!r}" for name in wanted if has[name] != wanted[name]]
    return "; ".join(wrong) or None


def wrong_health(expected: Expected, health: list[Stored]) -> list[str]:
    """The last health record of each account against a recount at its clock."""
    latest: dict[str, dict[str, Any] | None] = {}
    for record in sorted(health, key=lambda record: (record.partition, record.offset)):
        name = (record.key or b"").decode()
        said = None if record.value is None else json.loads(record.value)
        before = latest.get(name)
        # What a worker that lost its partition says late has a lower sequence.
        if said is None or before is None or said["sequence"] >= before["sequence"]:
            latest[name] = said
    wrong = [f"health of {name}, of whom no record speaks" for name in latest.keys() - expected.named]
    for name, account in expected.accounts.items():
        said = latest.get(name)
        if not account.records:
            if said is not None:
                wrong.append(f"health of {name} is there; the account was erased")
        elif said is None:
            wrong.append(f"health of {name} is missing")
        else:
            wrong += [f"health of {name}: {what}" for what in wrong_record(account, expected.episodes[name], said)]
    return wrong


def wrong_record(account: Account, episodes: dict[str, tuple[str, str, str]], said: dict[str, Any]) -> list[str]:
    """In what one health record is not what a recount gives."""
    if us(said["as_of"]) != account.clock:
        return [f"as of {said['as_of']}, the account's clock is {iso(account.clock)}"]
    facts = Facts(account.records, account.clock)
    has = {name: value for name, value in said["windows"].items() if name != "as_of"}
    has["oldest_overdue_days"] = has["oldest_overdue_days"] or None
    has["last_seen"] = None if has["last_seen"] is None else us(has["last_seen"])
    wanted = windows(facts)
    wrong = [f"{name} is {has[name]}, should be {wanted[name]}" for name in wanted if has[name] != wanted[name]]
    found = {
        entry["episode_id"]: (entry["signal"], entry.get("user") or "", entry["severity"])
        for entry in said["open_episodes"]
    }
    wrong += [f"open episode {name} {episodes[name]} is missing" for name in episodes.keys() - found.keys()]
    wrong += [f"open episode {name} {found[name]} should not be" for name in found.keys() - episodes.keys()]
    wrong += [
        f"open episode {name} is {found[name]}, should be {episodes[name]}"
        for name in episodes.keys() & found.keys()
        if episodes[name] != found[name]
    ]
    for day in said["usage_days"]:
        number = day_of(us(day["day"] + "T00:00:00Z"))
        recount = facts.usage_between(number, number)
        if day["usage"] != recount:
            wrong.append(f"usage of {day['day']} is {day['usage']}, should be {recount}")
    return wrong
