"""Makes the broker's topics as the topic files say, and tells where they differ.

`plan` decides and touches nothing; `check` and `apply` read the broker, and `apply` carries the plan out. Nothing is
ever made smaller: no topic is deleted, no retention shortened, no partition count or replication changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError
from msgspec import Struct

from schemas.topics.registry import Topic, satisfies, topics
from services.common.kafka import admin, broker_error

SETTLED_WITHIN_S: Final = 30.0
_SET_ON_TOPIC: Final = 1  # Kafka's config source "dynamic topic config"


class TopicsRefused(Exception):
    """The broker would not make or change a topic. The message names the topic and the broker's reason."""


class Existing(Struct, frozen=True, kw_only=True):
    """A topic as the broker has it. `overrides` are the settings made on the topic itself, `configs` all in effect.

    `led` says that every partition has a leader: a topic just made takes no record before.
    """

    partitions: int
    replication: int
    led: bool = True
    configs: dict[str, str]
    overrides: dict[str, str]


class Change(Struct, frozen=True, kw_only=True):
    """A topic to make (`setting` is null), or a setting to change from `before` to `after`."""

    topic: str
    action: Literal["create", "set"]
    setting: str | None = None
    before: str | None = None
    after: str

    def __str__(self) -> str:
        if self.action == "create":
            return f"{self.topic}: create with {self.after}"
        return f"{self.topic}: {self.setting} from {self.before} to {self.after}"


class Difference(Struct, frozen=True, kw_only=True):
    """Something that is not as configured and that is not changed here; `remedy` says what to do."""

    topic: str
    what: str
    found: str
    wanted: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, wanted {self.wanted}; {self.remedy}"


class Report(Struct, frozen=True, kw_only=True):
    """What was (or in a check: is to be) changed, what stays different, and why nothing was done, if so."""

    changes: list[Change]
    differences: list[Difference]
    refused: str | None = None

    @property
    def unchanged(self) -> bool:
        """Whether the broker had every topic as configured already."""
        return not (self.changes or self.differences or self.refused)


def plan(wanted: Mapping[str, Topic], existing: Mapping[str, Existing], *, partitions: int, replication: int) -> Report:
    """What has to change so that the broker is as configured, and what must be left to people."""
    refused = _unequal(wanted, existing, partitions)
    changes: list[Change] = []
    differences: list[Difference] = []
    for name, topic in wanted.items():
        count, found = topic.partition_count(partitions), existing.get(name)
        if found is None:
            changes.append(
                Change(
                    topic=name, action="create", after=f"{count} partitions, {replication} replicas, {_shown(topic)}"
                )
            )
            continue
        # What the engine writes to works with any number, and keeps the one it was made with.
        if found.partitions != count and (topic.copartitioned or topic.partitions != "keyed"):
            differences.append(_partitions_differ(topic, name, found.partitions, count))
        if found.replication < replication:
            differences.append(
                Difference(
                    topic=name,
                    what="replication",
                    found=str(found.replication),
                    wanted=str(replication),
                    remedy="raise it with kafka-reassign-partitions, or set EBBTIDE_TOPIC_REPLICATION to what there is",
                )
            )
        # By the replicas there are: asking for more in-sync ones than that would stop every write.
        changes.extend(
            Change(topic=name, action="set", setting=setting, before=found.configs.get(setting), after=value)
            for setting, value in topic.settings(found.replication).items()
            if setting not in found.configs or not satisfies(setting, found.configs[setting], value)
        )
    return Report(changes=[] if refused else changes, differences=differences, refused=refused)


async def check(bootstrap: str, *, partitions: int, replication: int, app_id: str) -> Report:
    """Compare the broker's topics with the topic files; changes nothing. Raises BrokerUnreachable."""
    wanted = topics(app_id)
    async with admin(bootstrap) as client:
        return plan(wanted, await _read(client, wanted), partitions=partitions, replication=replication)


async def apply(bootstrap: str, *, partitions: int, replication: int, app_id: str) -> Report:
    """Make missing topics and set what is set too low; returns what was changed and what stays different.

    Safe to repeat and to run twice at once. Raises BrokerUnreachable, and TopicsRefused where the broker says no.
    """
    wanted = topics(app_id)
    async with admin(bootstrap) as client:
        existing = await _read(client, wanted)
        first = plan(wanted, existing, partitions=partitions, replication=replication)
        await _create(client, first.changes, wanted, partitions, replication)
        await _set(client, first.changes, existing)
        if first.changes:
            changed = {change.topic: wanted[change.topic] for change in first.changes}
            await _settled(client, changed, partitions, replication)
        left = plan(wanted, await _read(client, wanted), partitions=partitions, replication=replication)
    return Report(changes=first.changes, differences=left.differences, refused=left.refused)


async def existing(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, Existing]:
    """Those of the topics `names` that the broker has. Raises TopicsRefused where it does not tell."""
    return await _read(client, names)


async def _settled(client: AIOKafkaAdminClient, changed: dict[str, Topic], partitions: int, replication: int) -> None:
    """Return once the brokers show every change and a leader for every partition of the changed topics."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while True:
        existing = await _read(client, changed)
        open_changes = plan(changed, existing, partitions=partitions, replication=replication).changes
        if not open_changes and all(topic.led for topic in existing.values()):
            return
        if time.monotonic() > deadline:
            waiting = [str(change) for change in open_changes] or [n for n, topic in existing.items() if not topic.led]
            raise TopicsRefused(f"accepted, but not in effect after {SETTLED_WITHIN_S:.0f} s: {', '.join(waiting)}")
        await asyncio.sleep(0.05)


def _unequal(wanted: Mapping[str, Topic], existing: Mapping[str, Existing], partitions: int) -> str | None:
    together = [name for name, topic in wanted.items() if topic.copartitioned]
    counts = {name: existing[name].partitions for name in together if name in existing}
    found = set(counts.values())
    if len(found) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        return (
            f"the input topics and the state changelog must have one partition count, but have: {shown}. Delete the "
            "wrong ones if they hold nothing; otherwise see docs/runbooks/adding-partitions.md"
        )
    if found and len(counts) < len(together) and found != {partitions}:
        missing = ", ".join(name for name in together if name not in existing)
        return (
            f"to be made: {missing}, with {partitions} partitions, but the topics that must have as many have "
            f"{found.pop()}; set EBBTIDE_TOPIC_PARTITIONS to that"
        )
    return None


def _partitions_differ(topic: Topic, name: str, found: int, wanted: int) -> Difference:
    remedy = "it was not made here; delete it if it holds nothing"
    if topic.copartitioned:
        remedy = f"set EBBTIDE_TOPIC_PARTITIONS={found}; for more partitions there is `ebbtide topics grow`"
    return Difference(topic=name, what="partitions", found=str(found), wanted=str(wanted), remedy=remedy)


def _shown(topic: Topic) -> str:
    return ", ".join(f"{name}={value}" for name, value in topic.configs.items())


async def _read(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, Existing]:
    wanted = set(names)
    layout = {
        topic["topic"]: topic["partitions"]
        for topic in await client.describe_topics()
        if topic["topic"] in wanted and topic["partitions"]
    }
    if not layout:
        return {}
    found: dict[str, Existing] = {}
    answers = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(layout)])
    for code, message, _, name, entries in (resource for answer in answers for resource in answer.resources):
        if code:
            raise TopicsRefused(f"{name}: its settings cannot be read: {broker_error(code, message)}")
        partitions = layout[name]
        found[name] = Existing(
            partitions=len(partitions),
            replication=min(len(partition["replicas"]) for partition in partitions),
            led=all(partition["leader"] >= 0 for partition in partitions),
            configs={entry[0]: entry[1] for entry in entries if entry[1] is not None},
            overrides={entry[0]: entry[1] for entry in entries if entry[3] == _SET_ON_TOPIC and entry[1] is not None},
        )
    return found


async def _create(
    client: AIOKafkaAdminClient, changes: list[Change], wanted: Mapping[str, Topic], partitions: int, replication: int
) -> None:
    names = [change.topic for change in changes if change.action == "create"]
    if not names:
        return
    answer = await client.create_topics(
        [
            NewTopic(
                name,
                wanted[name].partition_count(partitions),
                replication,
                topic_configs=wanted[name].settings(replication),
            )
            for name in names
        ]
    )
    for name, code, message in answer.topic_errors:
        if code and code != TopicAlreadyExistsError.errno:  # somebody else made it in this moment: the next read tells
            raise TopicsRefused(f"{name}: the broker did not make it: {broker_error(code, message)}")


async def _set(client: AIOKafkaAdminClient, changes: list[Change], existing: Mapping[str, Existing]) -> None:
    new: dict[str, dict[str, str]] = {}
    for change in changes:
        if change.action == "set" and change.setting is not None:
            # The request replaces all settings of the topic itself: those that nobody here cares for go along.
            new.setdefault(change.topic, dict(existing[change.topic].overrides))[change.setting] = change.after
    if not new:
        return
    answers = await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, *item) for item in new.items()])
    for code, message, _, name in (resource for answer in answers for resource in answer.resources):
        if code:
            raise TopicsRefused(f"{name}: the broker did not take the settings: {broker_error(code, message)}")
