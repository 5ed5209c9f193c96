"""Sequence numbers of accounts go on above those of a state that was there before, which the engine has never seen."""

from __future__ import annotations

import json

import msgspec

from schemas.codec import decode
from schemas.envelope import Event
from schemas.events import INPUT_TOPICS
from services.signals.backtest.run import MemoryStore
from services.signals.catalogue import load
from services.signals.core.partition import Effects, PartitionEngine

ANSWER = {
    "specversion": "1.0",
    "source": "t",
    "type": "survey.answered",
    "subject": "a",
    "time": "2026-03-01T00:00:00Z",
    "data": {"survey_id": "s", "kind": "nps", "score": 1},
}


def said(store: MemoryStore, offset: int, sequence_after: int) -> tuple[list[int], list[int]]:
    """What one effect says: the sequence numbers of its signals, each once, and of health."""
    engine = PartitionEngine(0, INPUT_TOPICS, load(), store, partitions=1, sequence_after=sequence_after)
    engine.restore()
    value = json.dumps(ANSWER | {"id": str(offset)}).encode()
    event = decode("engagement", b"a", value)
    assert isinstance(event, Event)
    engine.apply(INPUT_TOPICS.index("engagement"), offset, b"a", value, event, 1 << 60)
    effects: Effects = engine.take(1, 0.0)
    store.update((key, value) for key, value in effects.state if value is not None)
    health = [msgspec.json.decode(value)["sequence"] for _, value in effects.health if value is not None]
    return sorted({sequence for *_, sequence in effects.signals}), health


def test_a_state_that_is_built_again_says_more_than_the_one_before() -> None:
    first, second = MemoryStore(), MemoryStore()
    assert said(first, 0, 0) == ([1], [1])
    assert said(first, 1, 0)[1] == [2]
    assert said(second, 0, 1000) == ([1001], [1001])
    assert said(second, 1, 1000)[1] == [1002]
    assert said(first, 2, 2000)[1] == [2001], "and so does the one before, taken up again"
