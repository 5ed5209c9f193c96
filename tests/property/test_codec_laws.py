"""Laws of the codec over arbitrary input: it never raises, knows only its reasons, and reads back what it wrote."""

from __future__ import annotations

import datetime as dt
import json
from functools import cache
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from schemas.codec import ANY_TOPIC, LAST_INSTANT, MAX_DETAIL, Refusal, decode, decode_any, encode
from schemas.dead_letters import REASONS
from schemas.envelope import EPOCH, MAX_EVENT_BYTES, SUBJECT_PATTERN, Event, Subject, from_us
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.events.engagement import SCORE_RANGE

# A loaded machine is no failure.
LAW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROUND_TRIP = settings(LAW, max_examples=25)  # for each of the types

TOPICS = st.sampled_from([*INPUT_TOPICS, ANY_TOPIC])
KEYS = st.none() | st.binary(max_size=130) | st.just(b"acme")
GOOD = {
    "specversion": "1.0",
    "id": "1",
    "source": "s",
    "type": "usage.feature_used",
    "subject": "acme",
    "time": "2026-03-02T09:30:00Z",
    "data": {"feature": "f"},
}

# What may stand in a member: text without surrogates, as JSON can carry it.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def judged(topic: str, key: bytes | None, value: bytes | None) -> Event | Refusal:
    """Decode, and hold the answer to what every answer must be."""
    answer = decode(topic, key, value)
    if isinstance(answer, Refusal):
        assert answer.reason in REASONS
        assert 0 < len(answer.detail) <= MAX_DETAIL
    else:
        assert isinstance(answer, Event)
        kind = EVENT_TYPES[answer.type]
        assert topic in (ANY_TOPIC, kind.topic) or kind.topic == "*"
        assert key == (None if answer.subject is None else answer.subject.encode())
        assert from_us(answer.time_us) == answer.time
    return answer


@LAW
@given(TOPICS, KEYS, st.none() | st.binary(max_size=400))
@example("usage", b"acme", b"")
@example("usage", b"acme", b'{"type":"usage.logged_in"')
@example("usage", b"acme", b"\xff\xfe")
def test_any_bytes(topic: str, key: bytes | None, value: bytes | None) -> None:
    judged(topic, key, value)


@LAW
@given(TOPICS, KEYS, st.dictionaries(TEXT, JSON, max_size=6))
def test_any_object(topic: str, key: bytes | None, value: dict[str, Any]) -> None:
    assert isinstance(judged(topic, key, json.dumps(value).encode()), Refusal)


@LAW
@given(TOPICS, st.sampled_from(sorted(EVENT_TYPES)), st.dictionaries(st.sampled_from(sorted(GOOD)), JSON), JSON)
def test_nearly_an_event(topic: str, name: str, wrong: dict[str, Any], data: Any) -> None:
    judged(topic, b"acme", json.dumps(GOOD | {"type": name, "data": data} | wrong).encode())


@LAW
@given(st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_an_event_with_bytes_overwritten(at: int, noise: bytes) -> None:
    value = json.dumps(GOOD).encode()
    judged("usage", b"acme", value[:at] + noise + value[at + len(noise) :])


@LAW
@given(TEXT)
@example("a\u0085b")
@example("\u00a0a")
@example("\ufeffa")
@example("\u2028")
@example("a" * 128)
@example("a" * 129)
def test_subject_is_judged_as_its_pattern_says(subject: str) -> None:
    answer = judged("usage", subject.encode(), json.dumps(GOOD | {"subject": subject}).encode())
    try:
        msgspec.convert(subject, Subject)
    except msgspec.ValidationError:
        assert isinstance(answer, Refusal)
        assert answer.field == "subject"
    else:
        assert isinstance(answer, Event)
        assert answer.subject == subject


@LAW
@given(
    st.datetimes(min_value=dt.datetime(1, 1, 2), max_value=dt.datetime(9999, 12, 30)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
@example(dt.datetime(1970, 1, 1), 0)
@example(dt.datetime(1970, 1, 1), 1)
@example(dt.datetime(2105, 12, 31, 23, 59, 59, 999999), 0)
@example(dt.datetime(2105, 12, 31, 23, 59, 59, 999999), -1)
def test_time_is_an_instant_whatever_its_zone(local: dt.datetime, minutes: int) -> None:
    time = local.replace(tzinfo=dt.timezone(dt.timedelta(minutes=minutes)))
    answer = judged("usage", b"acme", json.dumps(GOOD | {"time": time.isoformat()}).encode())
    if EPOCH <= time < LAST_INSTANT:
        assert isinstance(answer, Event)
        assert answer.time == time
        assert answer.time_us == (time - EPOCH) // dt.timedelta(microseconds=1)
    else:
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.field) == ("invalid", "time")


ZONES = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
TYPED: dict[Any, st.SearchStrategy[Any]] = {
    dt.datetime: st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2105, 12, 30), timezones=ZONES),
    dt.date: st.dates(),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    int: st.integers(-(2**63), 2**63 - 1),
    str: TEXT,
    type(None): st.none(),
    UnsetType: st.just(UNSET),
}


@cache
def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a member's type that keeps to its bounds."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return bounded(*parts)
    if origin is Literal:
        return st.sampled_from(parts)
    if origin is list:
        return st.lists(values(parts[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(TEXT, values(parts[1]), max_size=3)
    if parts:
        return st.one_of([values(part) for part in parts])
    if isinstance(hint, type) and issubclass(hint, Struct):
        return structs(hint)
    return TYPED[hint]


def bounded(hint: Any, meta: msgspec.Meta) -> st.SearchStrategy[Any]:
    """Any value within the bounds of an annotated type."""
    pattern = meta.pattern or (meta.extra_json_schema or {}).get("pattern")
    if pattern == SUBJECT_PATTERN:
        return TEXT.map(str.strip).filter(lambda text: accepts(text, Subject))
    if pattern is not None:
        return st.from_regex(pattern.replace("$(?!\\n)", r"\Z"), fullmatch=True)
    if hint is str:
        return st.text(st.characters(exclude_categories=["Cs"]), min_size=meta.min_length or 0, max_size=40)
    if hint is float:
        return st.floats(meta.ge, meta.le, allow_nan=False, allow_infinity=False)
    if hint is int:
        return st.integers(cast(int, meta.ge), cast(int, meta.le))
    return TYPED[hint]


def accepts(value: Any, hint: Any) -> bool:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        return False
    return True


@cache
def structs(struct: type[Struct]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(struct, include_extras=True)
    return st.builds(struct, **{name: values(hints[name]) for name in struct.__struct_fields__})


@cache
def valid(name: str) -> st.SearchStrategy[Event]:
    """Events of one type that the codec takes."""
    made = structs(EVENT_TYPES[name].event)
    if not name.startswith("survey."):
        return made
    return made.flatmap(lambda event: st.builds(with_score, st.just(event), st.integers(*SCORE_RANGE[event.data.kind])))


def with_score(event: Event, score: int) -> Event:
    return replace(event, data=replace(event.data, score=score))


@pytest.mark.parametrize("name", EVENT_TYPES)
@ROUND_TRIP
@given(data=st.data())
def test_what_is_written_is_read_again(name: str, data: st.DataObject) -> None:
    kind = EVENT_TYPES[name]
    event = data.draw(valid(name))
    value = encode(event)
    if len(value) > MAX_EVENT_BYTES:
        return
    topic = INPUT_TOPICS[0] if kind.topic == "*" else kind.topic
    again = judged(topic, None if event.subject is None else event.subject.encode(), value)
    assert again == event
    assert decode_any(value) == event
    assert encode(again) == value


def record(members: str) -> bytes:
    """A good event with more members at the end, as text."""
    return (json.dumps(GOOD)[:-1] + "," + members + "}").encode()


@pytest.mark.parametrize(
    ("value", "reason", "field"),
    [
        (record('"subject":"other"'), "invalid", "key"),
        (record('"type":"usage.page_viewed"'), "invalid", "type"),
        (record('"data":{"feature":"g"}'), None, ""),
        (record('"x":' + "9" * 5000), None, ""),
        (record('"x":1e99999'), None, ""),
        (record('"x":' + "[" * 12000 + "]" * 12000), "malformed", ""),
        (record('"x":' + '{"a":' * 5000 + "1" + "}" * 5000), "malformed", ""),
        (record('"x":"\\ud800"'), "malformed", ""),
        (record('"x":"\\udc00\\ud800"'), "malformed", ""),
        (record('"x":NaN'), "malformed", ""),
        (record('"x":Infinity'), "malformed", ""),
        (record('"x":"\xff"').replace("ÿ".encode(), b"\xff"), "malformed", ""),
        (record('"data":{"feature":"f","count":' + "9" * 4000 + "}"), "invalid", "data.count"),
        (record('"data":{"feature":"f","duration_s":1e999}'), "invalid", "data.duration_s"),
        (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "malformed", ""),
        (json.dumps(GOOD).encode("utf-16"), "malformed", ""),
        (b"[" * 30000, "malformed", ""),
        (b" " * MAX_EVENT_BYTES + b"{}", "too_large", ""),
        (None, "malformed", ""),
    ],
    ids=lambda value: "" if isinstance(value, str) else (value or b"null")[-24:].decode("latin-1"),
)
def test_awkward_json(value: bytes | None, reason: str | None, field: str) -> None:
    answer = judged("usage", b"acme", value)
    if reason is None:
        assert isinstance(answer, Event)
    else:
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.field) == (reason, field)


def test_the_largest_event_is_taken() -> None:
    value = json.dumps(GOOD).encode()
    padded = value + b" " * (MAX_EVENT_BYTES - len(value))
    assert isinstance(decode("usage", b"acme", padded), Event)
    assert decode_any(padded + b" ") == decode("usage", b"acme", padded + b" ")
