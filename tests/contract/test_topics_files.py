"""Laws over the topic files."""

from __future__ import annotations

import msgspec
import pytest
import yaml

from schemas import dead_letters
from schemas.envelope import MAX_EVENT_BYTES
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.health import HEALTH_TOPIC
from schemas.signals import OPPORTUNITY_TOPIC, RISK_TOPIC
from schemas.topics.registry import FOLDER, Topic, topics
from services.common.kafka import MAX_REQUEST_BYTES

TOPICS = topics("app")
DAY_MS = 86_400_000


def number(topic: str, setting: str) -> int:
    return int(TOPICS[topic].settings(1)[setting])


def test_every_topic_of_the_contract_has_a_file_and_no_other() -> None:
    named = {*INPUT_TOPICS, RISK_TOPIC, OPPORTUNITY_TOPIC, HEALTH_TOPIC, dead_letters.DEAD_LETTER_TOPIC}
    assert set(TOPICS) == named | {"attribution", "app-state-changelog"}


def test_file_names_say_the_topic() -> None:
    for path in FOLDER.glob("*.yaml"):
        name = yaml.safe_load(path.read_text())["name"]
        assert path.stem == name.replace("{app_id}-state-", "")


def test_a_misspelt_member_is_refused() -> None:
    good = yaml.safe_load((FOLDER / "usage.yaml").read_text())
    for bad in (good | {"partition": 4}, good | {"configs": {"retention_ms": 1}}, good | {"producers": ["nobody"]}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, Topic)


@pytest.mark.parametrize("topic", INPUT_TOPICS)
def test_input_topics(topic: str) -> None:
    known = [kind.name for kind in EVENT_TYPES.values() if kind.topic in (topic, "*")]
    assert TOPICS[topic].types == known
    settings = TOPICS[topic].settings(1)
    assert TOPICS[topic].copartitioned
    assert TOPICS[topic].partitions == "keyed"
    assert TOPICS[topic].dead_letters == dead_letters.DEAD_LETTER_TOPIC
    assert settings["cleanup.policy"] == "delete"
    assert settings["message.timestamp.type"] == "LogAppendTime"
    assert number(topic, "retention.ms") == 400 * DAY_MS
    assert number(topic, "max.message.bytes") > MAX_REQUEST_BYTES > MAX_EVENT_BYTES


@pytest.mark.parametrize("topic", [RISK_TOPIC, OPPORTUNITY_TOPIC])
def test_signal_topics(topic: str) -> None:
    assert number(topic, "retention.ms") == 2 * 365 * DAY_MS
    assert TOPICS[topic].settings(1)["cleanup.policy"] == "delete"


def test_dead_letters_take_the_largest_input() -> None:
    largest = max(number(topic, "max.message.bytes") for topic in INPUT_TOPICS)
    assert number(dead_letters.DEAD_LETTER_TOPIC, "max.message.bytes") == largest + 64 * 1024
    assert tuple(TOPICS[dead_letters.DEAD_LETTER_TOPIC].headers) == dead_letters.HEADERS


@pytest.mark.parametrize("topic", [HEALTH_TOPIC, "attribution", "app-state-changelog"])
def test_compacted_topics_forget_what_was_erased(topic: str) -> None:
    assert TOPICS[topic].settings(1)["cleanup.policy"] == "compact"
    assert number(topic, "max.compaction.lag.ms") <= DAY_MS


def test_changelog_keeps_what_a_stale_writer_overwrote() -> None:
    assert number("app-state-changelog", "min.compaction.lag.ms") >= 3_600_000
    assert number("app-state-changelog", "max.message.bytes") == 32 * 1024 * 1024
    assert number("app-state-changelog", "segment.bytes") > number("app-state-changelog", "max.message.bytes")
    assert TOPICS["app-state-changelog"].copartitioned


def test_a_majority_of_replicas_keeps_a_write() -> None:
    assert [TOPICS["usage"].settings(n)["min.insync.replicas"] for n in (1, 2, 3, 5)] == ["1", "1", "2", "3"]
