"""The golden examples: every type has them, they are what the codec takes and writes, and the refused ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import dead_letters
from schemas.codec import Refusal, decode, decode_any, encode
from schemas.envelope import Event
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.generate import EXAMPLES, OUTPUTS
from schemas.health import Health
from schemas.signals import PORTFOLIO_ACCOUNT, Transition

EVENTS = sorted(path for name in EVENT_TYPES for path in (EXAMPLES / name).glob("*.json"))
REFUSED = sorted((EXAMPLES / "refused").glob("*.json"))
CODEC_REASONS = {"malformed", "unknown_type", "invalid", "unattributed", "too_large"}


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def refused_record(example: dict[str, Any]) -> tuple[bytes | None, bytes]:
    """Key and value of a refused example."""
    key = None if example["key"] is None else example["key"].encode()
    value = example["raw"] if "raw" in example else json.dumps(example["event"])
    return key, value.encode() + b" " * example.get("padding", 0)


def accepted(path: Path, topic: str) -> Event:
    value = path.read_bytes()
    subject = load(path).get("subject")
    event = decode(topic, None if subject is None else subject.encode(), value)
    assert isinstance(event, Event), event
    return event


@pytest.mark.parametrize("name", [*EVENT_TYPES, *OUTPUTS])
def test_every_type_has_a_minimal_and_a_full_example(name: str) -> None:
    assert {"minimal.json", "full.json"} <= {path.name for path in (EXAMPLES / name).iterdir()}


def test_no_orphan() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {*EVENT_TYPES, *OUTPUTS, "refused"}
    assert all(path.suffix == ".json" for folder in EXAMPLES.iterdir() for path in folder.iterdir())


@pytest.mark.parametrize("path", EVENTS, ids=named)
def test_event_is_read_and_written_again_as_an_equal_one(path: Path) -> None:
    kind = EVENT_TYPES[path.parent.name]
    for topic in INPUT_TOPICS if kind.topic == "*" else [kind.topic]:
        event = accepted(path, topic)
        assert event.type == kind.name
        assert type(event) is kind.event
        again = decode_any(encode(event))
        assert again == event
    assert decode_any(path.read_bytes()) == event


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_full_example_has_every_member(name: str) -> None:
    seen = set().union(*(load(path).get("data", {}) for path in (EXAMPLES / name).glob("*.json")))
    assert set(EVENT_TYPES[name].data.__struct_encode_fields__) <= seen


@pytest.mark.parametrize("path", EVENTS, ids=named)
def test_event_is_refused_on_another_topic(path: Path) -> None:
    kind = EVENT_TYPES[path.parent.name]
    subject = load(path).get("subject")
    for topic in set(INPUT_TOPICS) - {kind.topic} if kind.topic != "*" else []:
        refusal = decode(topic, None if subject is None else subject.encode(), path.read_bytes())
        assert isinstance(refusal, Refusal)
        assert (refusal.reason, refusal.field) == ("invalid", "type")


@pytest.mark.parametrize("path", REFUSED, ids=named)
def test_refused_for_exactly_this(path: Path) -> None:
    example = load(path)
    assert set(example) <= {"why", "topic", "key", "event", "raw", "padding", "refused", "schema_refuses"}
    refusal = decode(example["topic"], *refused_record(example))
    assert isinstance(refusal, Refusal), refusal
    assert {"reason": refusal.reason, "field": refusal.field} == example["refused"]
    assert 0 < len(refusal.detail) <= 300
    assert "regex" not in refusal.detail
    assert "$" not in refusal.detail


def test_every_reason_of_the_codec_has_a_refused_example() -> None:
    assert {load(path)["refused"]["reason"] for path in REFUSED} == CODEC_REASONS
    assert set(dead_letters.REASONS) >= CODEC_REASONS


@pytest.mark.parametrize(
    "path", sorted(path for name in OUTPUTS if "." in name for path in (EXAMPLES / name).iterdir()), ids=named
)
def test_signal_is_written_as_shown(path: Path) -> None:
    change = msgspec.json.decode(path.read_bytes(), type=Transition)
    assert change.type == path.parent.name
    assert msgspec.json.decode(msgspec.json.encode(change)) == load(path)
    assert change.id.startswith(change.data.episode_id)
    assert (change.subject == PORTFOLIO_ACCOUNT) == (change.data.scope == "portfolio")
    assert (change.data.user is not msgspec.UNSET) == (change.data.scope == "user")
    assert (change.data.previous_severity is not msgspec.UNSET) == (change.type == "signal.escalated")
    assert (change.data.cleared_at is not msgspec.UNSET) == (change.type == "signal.cleared")


@pytest.mark.parametrize("path", sorted((EXAMPLES / "health").iterdir()), ids=named)
def test_health_is_written_as_shown(path: Path) -> None:
    health = msgspec.json.decode(path.read_bytes(), type=Health)
    assert msgspec.json.decode(msgspec.json.encode(health)) == load(path)
    if health.score is not None:
        assert sum(component.contribution for component in health.components) == pytest.approx(health.score)


@pytest.mark.parametrize("path", sorted((EXAMPLES / "dead-letters").iterdir()), ids=named)
def test_dead_letter_is_what_the_codec_says(path: Path) -> None:
    example = load(path)
    headers = msgspec.convert(example["headers"], dead_letters.Headers)
    assert tuple(example["headers"]) == dead_letters.HEADERS
    key = None if example["key"] is None else example["key"].encode()
    refusal = decode(headers.source_topic, key, example["value"].encode())
    assert refusal == Refusal(headers.reason, headers.field, headers.detail)
