"""Every topic of the project, read from the files beside this one: what it carries, who uses it, how it must be set.

A file describes one topic. `partitions: keyed` is the configured count; topics that are `copartitioned` must have one
and the same count, because an account has one partition number in all of them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

FOLDER: Final = Path(__file__).parent

Party = Literal["products", "ingest", "replay", "engine", "recorder", "api", "delivery", "downstream", "operators"]
Config = Literal[
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "max.message.bytes",
    "message.timestamp.type",
    "min.compaction.lag.ms",
    "max.compaction.lag.ms",
    "delete.retention.ms",
    "segment.bytes",
]
AT_LEAST: Final = frozenset(
    {"retention.ms", "retention.bytes", "max.message.bytes", "min.compaction.lag.ms", "delete.retention.ms"}
    | {"min.insync.replicas"}
)
"""Settings where more than asked for is as good. Minus one means without bound."""


class Topic(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One topic. `types` are the event types that may travel on it, where its values are CloudEvents.

    `name` may hold `{app_id}`, the engine's application id. `configs` are Kafka's topic settings by their names.
    """

    name: str
    summary: Annotated[str, Meta(min_length=20)]
    key: str
    value: str
    types: list[str] = []
    headers: dict[str, str] = {}
    producers: Annotated[list[Party], Meta(min_length=1)]
    consumers: Annotated[list[Party], Meta(min_length=1)]
    partitions: Literal["keyed"] | Annotated[int, Meta(ge=1)]
    copartitioned: bool = False
    dead_letters: str | None = None
    configs: dict[Config, str | int]

    def partition_count(self, configured: int) -> int:
        """Partitions to make it with when `configured` is the count of keyed topics."""
        return configured if self.partitions == "keyed" else self.partitions

    def settings(self, replication: int) -> dict[str, str]:
        """Kafka's topic settings as text. A write is kept once a majority of `replication` replicas has it."""
        return {name: str(value) for name, value in self.configs.items()} | {
            "min.insync.replicas": str((replication + 1) // 2)
        }


@cache
def _files() -> tuple[Topic, ...]:
    return tuple(
        msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Topic)
        for path in sorted(FOLDER.glob("*.yaml"))
    )


def topics(app_id: str) -> dict[str, Topic]:
    """Every topic by its name, for an engine whose application id is `app_id`."""
    return {
        name: msgspec.structs.replace(topic, name=name)
        for topic in _files()
        if (name := topic.name.replace("{app_id}", app_id))
    }


def satisfies(name: str, actual: str, wanted: str) -> bool:
    """Whether an existing topic's setting is as good as the wanted one."""
    if name == "cleanup.policy":
        return set(actual.split(",")) == set(wanted.split(","))
    if name not in AT_LEAST or actual == wanted:
        return actual == wanted
    return int(actual) == -1 or (int(wanted) != -1 and int(actual) >= int(wanted))
