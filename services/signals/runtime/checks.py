"""What must hold before the first record is read: an account has one partition number in every topic it is read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class TopicsMismatch(Exception):
    """Input topics or changelog do not have the same number of partitions. The message says what to do."""


class InputCut(Exception):
    """State was concluded from records that the input topics no longer have room for. The message says what to do."""


def not_cut(applied: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> None:
    """Every applied position lies before the end of its topic-partition; else new records would pass for old ones.

    `applied` are the offsets applied last, `ends` the next offsets. Raises InputCut naming the first that does not.
    """
    for (topic, partition), offset in applied.items():
        end = ends.get((topic, partition))
        if end is not None and offset >= end:
            raise InputCut(
                f"{topic}-{partition} ends at offset {end}, and the state has applied offset {offset}: the topic was made "
                "again or lost its end. New records there would be skipped as old ones. Set EBBTIDE_ENGINE_APP_ID to a "
                "new name and run `ebbtide topics apply`: the engine then reads what the topics hold from the beginning"
            )


def copartitioned(counts: Mapping[str, int], topics: Sequence[str]) -> int:
    """The one partition count that all `topics` have. Raises TopicsMismatch naming each topic's count."""
    found = {counts[topic] for topic in topics}
    if len(found) != 1:
        listed = ", ".join(f"{topic} {counts[topic]}" for topic in topics)
        raise TopicsMismatch(
            f"the engine's topics have different numbers of partitions ({listed}): one account would be in two places. "
            "The count is fixed when topics are made: make the odd ones anew with the others' count "
            "(EBBTIDE_TOPIC_PARTITIONS and `ebbtide topics apply`), or make a new set and replay into it"
        )
    return found.pop()


def unchanged(counts: Mapping[str, int], topics: Sequence[str], partitions: int) -> None:
    """All `topics` still have `partitions` partitions. Raises TopicsMismatch naming those that do not."""
    changed = {topic: counts[topic] for topic in topics if counts[topic] != partitions}
    if changed:
        listed = ", ".join(f"{topic} {count}" for topic, count in changed.items())
        raise TopicsMismatch(
            f"the engine began with {partitions} partitions and now topics have others ({listed}): new records of one "
            "account go where its state is not. A count cannot be lowered again: stop the producers, make a new set of "
            "topics with the new count, and replay into it under a new EBBTIDE_ENGINE_APP_ID"
        )
