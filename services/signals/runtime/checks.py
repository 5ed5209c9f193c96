"""What must hold before the first record is read: an account has one partition number in every topic it is read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class TopicsMismatch(Exception):
    """Input topics or changelog do not have the same number of partitions. The message says what to do."""


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
