"""What is made, what is corrected, and what is left to people: decided without a broker."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.events import INPUT_TOPICS
from schemas.topics.registry import satisfies, topics
from services.common.topics import Change, Existing, Report, plan

WANTED = topics("app")
CHANGELOG = "app-state-changelog"


def as_made(partitions: int = 4, replication: int = 1) -> dict[str, Existing]:
    """A broker that is as configured."""
    return {
        name: Existing(
            partitions=topic.partition_count(partitions),
            replication=replication,
            configs=topic.settings(replication) | {"compression.type": "producer"},
            overrides=topic.settings(replication),
        )
        for name, topic in WANTED.items()
    }


def planned(existing: dict[str, Existing], partitions: int = 4, replication: int = 1) -> Report:
    return plan(WANTED, existing, partitions=partitions, replication=replication)


def test_empty_broker_gets_every_topic() -> None:
    report = planned({})
    assert [(change.topic, change.action) for change in report.changes] == [(name, "create") for name in WANTED]
    assert not report.differences
    assert report.refused is None


def test_nothing_to_do() -> None:
    assert planned(as_made()).unchanged


def test_lower_setting_is_raised_and_higher_one_kept() -> None:
    existing = as_made()
    existing["usage"].configs["retention.ms"] = "604800000"
    existing["tickets"].configs["retention.ms"] = "-1"
    existing["invoices"].configs["retention.ms"] = "99999999999999"
    existing["usage"].configs["retention.bytes"] = "1073741824"
    existing[CHANGELOG].configs["max.message.bytes"] = "1048588"
    report = planned(existing)
    assert [(change.topic, change.setting, change.before, change.after) for change in report.changes] == [
        (CHANGELOG, "max.message.bytes", "1048588", "33554432"),
        ("usage", "retention.ms", "604800000", "34560000000"),
        ("usage", "retention.bytes", "1073741824", "-1"),
    ]


def test_exact_settings_are_corrected() -> None:
    existing = as_made()
    existing["usage"].configs["message.timestamp.type"] = "CreateTime"
    existing["health"].configs["cleanup.policy"] = "delete"
    existing[CHANGELOG].configs["cleanup.policy"] = "compact,delete"
    assert {(change.topic, change.setting) for change in planned(existing).changes} == {
        ("usage", "message.timestamp.type"),
        ("health", "cleanup.policy"),
        (CHANGELOG, "cleanup.policy"),
    }


def test_another_partition_count_is_reported_and_not_changed() -> None:
    report = planned(as_made(8))
    assert report.changes == []
    assert report.refused is None
    assert {d.topic for d in report.differences} == {*INPUT_TOPICS, CHANGELOG}
    assert all((d.what, d.found, d.wanted) == ("partitions", "8", "4") for d in report.differences)
    assert all("EBBTIDE_TOPIC_PARTITIONS=8" in d.remedy for d in report.differences)


@pytest.mark.parametrize("odd", [*INPUT_TOPICS, CHANGELOG])
def test_unequal_counts_stop_everything(odd: str) -> None:
    existing = as_made()
    existing[odd] = replace(existing[odd], partitions=6)
    del existing["health"]
    report = planned(existing)
    assert report.refused is not None
    assert f"{odd} 6" in report.refused
    assert report.changes == []


def test_a_missing_topic_is_not_made_with_an_unequal_count() -> None:
    existing = as_made(8)
    del existing["tickets"]
    report = planned(existing)
    assert report.refused is not None
    assert "EBBTIDE_TOPIC_PARTITIONS" in report.refused
    assert report.changes == []
    assert [change.topic for change in planned(existing, partitions=8).changes] == ["tickets"]


def test_an_output_topic_may_have_another_count() -> None:
    existing = as_made()
    existing["health"] = replace(existing["health"], partitions=12)
    report = planned(existing)
    assert report.unchanged
    existing["attribution"] = replace(existing["attribution"], partitions=2)  # read whole, in one order
    assert [d.topic for d in planned(existing).differences] == ["attribution"]


def test_in_sync_replicas_follow_what_there_is() -> None:
    existing = as_made(replication=1)
    report = planned(existing, replication=3)
    assert {d.topic for d in report.differences} == set(WANTED)
    assert all((d.what, d.found, d.wanted) == ("replication", "1", "3") for d in report.differences)
    assert report.changes == []  # two in-sync replicas of one would stop every write
    assert planned(as_made(replication=3), replication=1).unchanged


def test_a_setting_the_broker_does_not_know_is_set() -> None:
    existing = as_made()
    del existing["health"].configs["max.compaction.lag.ms"]
    assert planned(existing).changes == [
        Change(topic="health", action="set", setting="max.compaction.lag.ms", before=None, after="86400000")
    ]


@pytest.mark.parametrize(
    ("name", "actual", "wanted", "good"),
    [
        ("retention.ms", "5", "5", True),
        ("retention.ms", "4", "5", False),
        ("retention.ms", "-1", "5", True),
        ("retention.bytes", "5", "-1", False),
        ("cleanup.policy", "delete,compact", "compact,delete", True),
        ("cleanup.policy", "compact", "compact,delete", False),
        ("segment.bytes", "6", "5", False),
    ],
)
def test_satisfies(name: str, actual: str, wanted: str, good: bool) -> None:
    assert satisfies(name, actual, wanted) is good
