"""From the bytes of a record to what is kept of it. Pure: nothing here knows a consumer or a database."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET, Struct

from schemas.codec import Refusal, decode
from schemas.db.tables import KEY_CHARACTERS
from schemas.envelope import EPOCH
from schemas.events import INPUT_TOPICS, accounts, usage
from schemas.health import HEALTH_TOPIC, Health
from schemas.signals import OPPORTUNITY_TOPIC, RISK_TOPIC, Transition, topic_of
from services.common.words import words

SIGNAL_TOPICS: Final = (RISK_TOPIC, OPPORTUNITY_TOPIC, HEALTH_TOPIC)
TIMELINE_TOPICS: Final = INPUT_TOPICS

FUTURE: Final = dt.timedelta(hours=24)
VALUE_REACHED: Final = b"usage.value_reached"
RELEASED: Final = b"feature.released"
# What is read by the hundred says something as a number, not as a line in an account's history.
NOT_IN_TIMELINE: Final = frozenset({"mail.opened", "mail.clicked", "community.active"})
ERASED: Final = "erased"
SEPARATOR: Final = "\x1f"
LONGEST_DECIMAL: Final = 32


class Record(Protocol):
    """A Kafka record, as far as it matters here. `timestamp` is milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class TransitionRow(Struct, frozen=True):
    """One transition. `body` is the record's value as it came."""

    record: Any
    account_id: str
    ordinal: int
    sequence: int
    appended_at: dt.datetime
    change: Transition
    body: str


class HealthRow(Struct, frozen=True):
    """One health record. `body` is the record without what it says of single days."""

    record: Any
    health: Health
    body: str


class ErasedRow(Struct, frozen=True):
    """A null health record: everything that was appended up to `until` is to be forgotten."""

    record: Any
    account_id: str
    until: dt.datetime


class RefusedRow(Struct, frozen=True):
    """A record that cannot be used: `undecodable`, or in `contradiction` to what is recorded under the same id."""

    record: Any
    reason: str
    detail: str


class TimelineRow(Struct, frozen=True):
    """One event of an account's history."""

    account_id: str
    time: dt.datetime
    entry: bytes
    type: str
    source: str
    event_id: str
    appended_at: dt.datetime
    data: str


class ErasureRow(Struct, frozen=True):
    """An `account.erased` event: what happened, or was appended, up to then is to be forgotten."""

    account_id: str
    time: dt.datetime
    appended_at: dt.datetime


class ReleaseRow(Struct, frozen=True):
    """A feature was released to every account."""

    feature: str
    released_at: dt.datetime
    advanced: bool


class AccountRow(Struct, frozen=True):
    """What an account is listed, filtered and sorted by."""

    account_id: str
    name: str | None
    sort_name: str
    tier: str | None
    csm: str | None
    mrr: Decimal | None
    currency: str | None
    renewal_date: dt.date | None
    churned: bool
    words: str


class _Data(Struct):
    data: msgspec.Raw


SignalRow = TransitionRow | HealthRow | ErasedRow | RefusedRow
EventRow = TimelineRow | ErasureRow | ReleaseRow

_transition: Final = msgspec.json.Decoder(Transition).decode
_health: Final = msgspec.json.Decoder(Health).decode
_data: Final = msgspec.json.Decoder(_Data).decode
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode


def signal_row(record: Record) -> SignalRow:
    """What a record of a signal topic or of `health` says. Never raises."""
    try:
        if record.key is None:
            return RefusedRow(record, "undecodable", "the record has no key; it must be the account id")
        account_id = record.key.decode()
        if record.topic == HEALTH_TOPIC:
            return _health_row(record, account_id)
        if record.value is None:
            return RefusedRow(record, "undecodable", "the record has no value")
        return _transition_row(record, account_id, record.value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return RefusedRow(record, "undecodable", printable(str(error)))


def _transition_row(record: Record, account_id: str, value: bytes) -> TransitionRow | RefusedRow:
    change = _transition(value)
    episode_id, _, number = change.id.rpartition("-")
    if episode_id != change.data.episode_id or not number.isdecimal() or not 0 < len(number) < 10 or int(number) < 1:
        return RefusedRow(record, "undecodable", "id: must be the episode id, a hyphen and the transition's ordinal")
    if change.subject != account_id:
        return RefusedRow(record, "undecodable", "subject: must be the account id that the record's key is")
    if topic_of(change.data.kind) != record.topic:
        return RefusedRow(record, "undecodable", f"data.kind: {change.data.kind} does not belong on {record.topic}")
    if (change.type == "signal.cleared") != isinstance(change.data.cleared_at, dt.datetime):
        return RefusedRow(record, "undecodable", "data.cleared_at: present when, and only when, the signal cleared")
    sequence = dict(record.headers).get("sequence", b"")
    if not sequence.isdigit() or len(sequence) > 18:
        return RefusedRow(record, "undecodable", "header sequence: missing or not a number")
    return TransitionRow(record, account_id, int(number), int(sequence), appended_at(record), change, value.decode())


def _health_row(record: Record, account_id: str) -> HealthRow | ErasedRow | RefusedRow:
    if record.value is None:
        return ErasedRow(record, account_id, appended_at(record))
    health = _health(record.value)
    if health.account_id != account_id:
        return RefusedRow(record, "undecodable", "account_id: must be the account id that the record's key is")
    body = _encode(msgspec.structs.replace(health, usage_days=[], score_days=[])).decode()
    return HealthRow(record, health, body)


def event_row(record: Record) -> EventRow | None:
    """What a record of an input topic adds to an account's history; None where it adds nothing.

    Refused events are not repeated here: they are in the dead letters. Never raises.
    """
    value = record.value
    # Usage and ticks are the bulk of everything and few of them belong here: look before decoding.
    if value is None or (record.topic == usage.TOPIC and VALUE_REACHED not in value):
        return None
    if record.key is None and (record.topic != accounts.TOPIC or RELEASED not in value):
        return None
    event = decode(record.topic, record.key, value)
    if isinstance(event, Refusal) or event.time > not_after(record):
        return None
    if isinstance(event.data, accounts.FeatureReleased):
        return ReleaseRow(feature_key(event.data.feature), event.time, event.data.advanced)
    if event.subject is None:
        return None
    if event.type == "account.erased":
        return ErasureRow(event.subject, event.time, appended_at(record))
    if event.type in NOT_IN_TIMELINE or (record.topic == usage.TOPIC and event.type != VALUE_REACHED.decode()):
        return None
    return TimelineRow(
        event.subject,
        event.time,
        entry_of(event.source, event.id),
        event.type,
        printable(event.source),
        printable(event.id),
        appended_at(record),
        # A member that is absent and one that is null differ in a profile change: keep what was sent.
        bytes(_data(value).data).decode(),
    )


def entry_of(source: str, event_id: str) -> bytes:
    """A digest of an event's source and id: its identity among the events of one account at one time."""
    return hashlib.blake2b(f"{source}\x1f{event_id}".encode(), digest_size=12).digest()


def appended_at(record: Record) -> dt.datetime:
    """When the record came to its topic."""
    return EPOCH + dt.timedelta(milliseconds=max(record.timestamp, 0))


def not_after(record: Record) -> dt.datetime:
    """The latest event time that is not the future: a day past the append, in a replay a day past its start."""
    start = dict(record.headers).get("run-start", b"")
    if start.isdigit() and len(start) <= 16:
        return EPOCH + dt.timedelta(microseconds=int(start)) + FUTURE
    return appended_at(record) + FUTURE


def account_row(health: Health) -> AccountRow:
    """What to list an account by. A profile member of another type than expected counts as unknown."""
    profile = health.profile
    name = _text(profile.get("name"))
    return AccountRow(
        account_id=health.account_id,
        name=name,
        sort_name=(name or health.account_id).casefold()[:KEY_CHARACTERS],
        tier=_key(profile.get("tier")),
        csm=_key(profile.get("csm")),
        mrr=_decimal(profile.get("mrr")),
        currency=_text(profile.get("currency")),
        renewal_date=_date(profile.get("renewal_date")),
        churned=health.churned,
        words=" ".join(words(f"{name or ''} {health.account_id}")),
    )


def printable(text: str) -> str:
    """The text with U+0000, which PostgreSQL cannot hold, replaced."""
    return text.replace("\x00", "\ufffd")


def feature_key(name: str) -> str:
    """A feature's name as it is kept in an index; the separator of lists of them cannot be part of it."""
    return printable(name).replace(SEPARATOR, " ")[:KEY_CHARACTERS]


def key_text(value: object) -> str | None:
    """A filter value as it is kept in an indexed column."""
    return _key(value)


def _text(value: object) -> str | None:
    return printable(value) if isinstance(value, str) else None


def _key(value: object) -> str | None:
    return printable(value)[:KEY_CHARACTERS] if isinstance(value, str) else None


def _decimal(value: object) -> Decimal | None:
    try:
        found = Decimal(value) if isinstance(value, str) and len(value) <= LONGEST_DECIMAL else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() and abs(found.adjusted()) <= LONGEST_DECIMAL else None


def _date(value: object) -> dt.date | None:
    try:
        return dt.date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def user_of(change: Transition) -> str | None:
    """The user that a transition is about, if it is about one."""
    return None if change.data.user is UNSET else printable(str(change.data.user))
