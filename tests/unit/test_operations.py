"""What the pipeline's page and the live view conclude, from facts written by hand."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from schemas.dead_letters import DEAD_LETTER_TOPIC
from services.api.console.catalogue_page import columns, lines, thresholds
from services.api.dead_letters import Found
from services.api.live import BURST, Seen, Wanted, Watcher, judge, spread
from services.api.masking import masked
from services.api.pipeline import EngineSays, Facts, Flow, Position, Recorded, Source
from services.api.silence import belief
from services.common.dead_letter_pages import Backwards, Budget, Standing
from services.common.dead_letters import Identity

NOW = dt.datetime(2026, 5, 1, 12, 0, tzinfo=dt.UTC)


def minutes(count: float) -> dt.datetime:
    return NOW - dt.timedelta(minutes=count)


def facts(**changes: Any) -> Facts:
    """All is well, but for what is said otherwise."""
    position = Position(
        "usage", 0, 100, changes.pop("applied", 100), changes.pop("lag", 0), changes.pop("lag_s", 0.0), 0.2
    )
    if "per_s" in changes:
        position = Position("usage", 0, 100, 100, 0, 0.0, changes.pop("per_s"))
    flow = Flow([position], {("usage", 0): 100}, 0, NOW)
    engine = EngineSays(minutes(1), changes.pop("clock_at", minutes(1)), 1, {}, NOW)
    sources = changes.pop("sources", [Source("app-eu", "usage", minutes(9), False, False, 3600.0)])
    recorded = Recorded({("usage", 0): 90}, changes.pop("moved_at", NOW), 0, sources, [])
    whole = {"flow": flow, "flow_trouble": None, "engine": engine, "engine_trouble": None, "recorded": recorded}
    return Facts(NOW, **(whole | changes))


STALE = Source("app-eu", "usage", minutes(3000), True, True, 3600.0)
LATE = Source("app-eu", "usage", minutes(400), False, True, 360_000.0)


@pytest.mark.parametrize(
    ("changes", "answer", "words"),
    [
        ({}, "yes", "every source with a known rhythm was heard"),
        ({"flow": None}, "unknown", "Kafka does not answer"),
        ({"applied": None}, "no", "not applied anything"),
        ({"lag": 3, "lag_s": 840.0}, "no", "waited for 14 min"),
        ({"lag": 3, "lag_s": None}, "no", "for an unknown time"),
        ({"lag": 3, "lag_s": 2.0}, "yes", "2 s behind"),
        ({"per_s": 0.0}, "no", "no tick came to usage"),
        ({"clock_at": minutes(30)}, "no", "clock is not in the present"),
        ({"engine": None}, "yes", "heard in time"),
        ({"moved_at": minutes(5)}, "no", "Nothing was recorded for 5 min"),
        ({"moved_at": None}, "no", "Nothing was recorded yet"),
        ({"sources": [STALE]}, "except", "app-eu (usage, silent since 2026-04-29 10:00 UTC)"),
        ({"sources": [LATE]}, "except", "nothing is judged by its silence"),
    ],
)
def test_silence_is_believed_only_where_everything_was_heard(changes: dict[str, Any], answer: str, words: str) -> None:
    found = belief(facts(**changes))
    assert found.answer == answer
    assert words in found.sentence


def test_the_recorder_is_behind_by_what_it_has_not_read() -> None:
    assert facts().recorder_behind() == 10
    assert facts(flow=None).recorder_behind() is None


# --- masks ---------------------------------------------------------------------------------------------------------


def test_values_go_and_names_and_kinds_stay() -> None:
    event = {
        "specversion": "1.0",
        "type": "usage.feature_used",
        "subject": "acme",
        "data": {"user": "jane@x.io", "n": 4.5},
    }
    event |= {"email": "jane@x.io", "ok": True, "more": [None, "x"]}
    assert masked(json.dumps(event).encode()) == {
        "specversion": "1.0",
        "type": "usage.feature_used",
        "subject": "acme",
        "data": {"user": "<text, 9 characters>", "n": "<number>"},
        "email": "<text, 9 characters>",
        "ok": True,
        "more": [None, "<text, 1 characters>"],
    }
    # A ticket's subject line is no account: only a CloudEvent's is kept.
    assert masked(b'{"subject": "Jane cannot log in", "userId": 7}') == {
        "subject": "<text, 18 characters>",
        "userId": "<number>",
    }
    assert masked(b'{"type": {"name": "jane"}}') == {"type": {"name": "<text, 4 characters>"}}
    assert masked(b"jane\xff") == "<5 bytes that are not JSON>"
    assert masked(b"[1e999]") == ["<text, 5 characters>"]
    assert masked(b"[" * 40 + b"]" * 40) is not None


# --- live ----------------------------------------------------------------------------------------------------------


def seen(offset: int, *, type_: str = "usage.feature_used", key: str | None = "acme", source: str = "app-eu") -> Seen:
    return Seen(Identity("usage", 0, offset), NOW, key, type_, source, f"e{offset}", "", b"{}")


def test_a_verdict_is_given_once_it_can_be() -> None:
    shown = [seen(4), seen(5), seen(6)]
    place = TopicPartition("usage", 0)
    assert judge(shown, {place: 4}, {}) == []
    dead = {Identity("usage", 0, 4): ("invalid", "data.count")}
    assert [(one.place.offset, one.verdict, one.reason) for one in judge(shown, {place: 6}, dead)] == [
        (4, "dead_letter", "invalid"),
        (5, "applied", ""),
    ]
    assert judge(shown, {place: 6}, dead) == []
    assert shown[2].verdict == "waiting"


def test_filters_take_a_type_or_its_first_part() -> None:
    assert Wanted(type="usage").takes(seen(1))
    assert Wanted(type="usage.feature_used", account="acme", source="app-eu").takes(seen(1))
    assert not Wanted(type="use").takes(seen(1))
    assert not Wanted(account="birk").takes(seen(1))
    assert not Wanted(source="app-us").takes(seen(1))


def test_what_is_too_much_is_shown_evenly_and_said() -> None:
    assert spread([*range(10)], 5) == [0, 2, 4, 6, 8]
    assert spread([1, 2], 5) == [1, 2]
    assert spread([1, 2], 0) == []
    left: list[Watcher] = []
    watcher = Watcher(SimpleNamespace(leave=left.append), Wanted())  # type: ignore[arg-type]
    assert len(watcher.offer([seen(n) for n in range(400)], 0, 1.0)) == BURST
    watcher.flow(5.0)

    async def told() -> list[Any]:
        return [await anext(watcher) for _ in range(BURST + 1)]

    flow = asyncio.run(told())[-1]
    assert (flow.matched, flow.shown, flow.one_in) == (400, BURST, 10)


# --- reading backwards ---------------------------------------------------------------------------------------------


class Topic:
    """A broker's topic of dead letters, by partition: (offset, milliseconds). Counts what it handed over."""

    def __init__(self, **partitions: list[tuple[int, int]]) -> None:
        self.records = {TopicPartition(DEAD_LETTER_TOPIC, int(name[1:])): held for name, held in partitions.items()}
        self.at: dict[TopicPartition, int] = {}
        self.given = 0

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.at[place] = offset

    def resume(self, *places: TopicPartition) -> None: ...

    def pause(self, *places: TopicPartition) -> None: ...

    async def position(self, place: TopicPartition) -> int:
        return self.at[place]

    async def getmany(self, *places: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        found = {}
        for place in places:
            some = [entry for entry in self.records[place] if entry[0] >= self.at[place]][:100]
            found[place] = [
                SimpleNamespace(
                    topic=place.topic,
                    partition=place.partition,
                    offset=offset,
                    timestamp=at,
                    key=None,
                    value=b"x",
                    headers=(),
                )
                for offset, at in some
            ]
            self.given += len(some)
            self.at[place] = some[-1][0] + 1 if some else self.at[place] + 1
        return found


def test_letters_come_newest_first_over_all_partitions_and_cost_what_is_asked_for() -> None:
    many = [(offset, offset) for offset in range(100_000)]
    topic = Topic(p0=many, p1=[(7, 99_998), (9, 50)])
    reading = Backwards(topic, {0: 100_000, 1: 10}, {0: 0, 1: 0}, Budget())  # type: ignore[arg-type]

    async def take(count: int) -> list[tuple[int, int]]:
        found = [await reading.next() for _ in range(count)]
        return [(one.place.partition, one.place.offset) for one in found if one is not None]

    # Within a partition later offsets are newer, whatever a clock said.
    assert asyncio.run(take(4)) == [(0, 99_999), (0, 99_998), (0, 99_997), (0, 99_996)]
    assert reading.before == {0: 99_996, 1: 10}
    assert topic.given < 1000
    assert not reading.exhausted


def test_a_reading_ends_with_its_budget_and_says_where_it_stands() -> None:
    topic = Topic(p0=[(offset, offset) for offset in range(500)])
    reading = Backwards(topic, {0: 500}, {0: 0}, Budget(letters=3))  # type: ignore[arg-type]

    async def all_of() -> int:
        count = 0
        while await reading.next() is not None:
            count += 1
        return count

    assert asyncio.run(all_of()) == 3
    assert (reading.before, reading.exhausted) == ({0: 497}, False)
    assert (reading.read, reading.oldest) == (3, dt.datetime.fromtimestamp(0.497, dt.UTC))
    # What retention took is passed over.
    whole = Backwards(Topic(p0=[(3, 3), (4, 4)]), {0: 5}, {0: 3}, Budget())  # type: ignore[arg-type]

    async def offsets() -> list[int]:
        return [one.place.offset for _ in range(3) if (one := await whole.next()) is not None]

    assert asyncio.run(offsets()) == [4, 3]
    assert whole.exhausted


# --- catalogue -----------------------------------------------------------------------------------------------------


def test_what_operators_changed_stands_beside_what_it_was() -> None:
    def entry(name: str, **by_tier: dict[str, Any]) -> dict[str, Any]:
        return {"id": name, "thresholds": by_tier}

    before = [entry("a", default={"raise_at": 0.75}), entry("b", default={"days": 3}), entry("c")]
    now = [
        entry("a", default={"raise_at": 0.75}, high={"raise_at": 0.7}),
        entry("b", default={"days": 3}),
        entry("own.d"),
    ]
    assert [(line.entry["id"], line.state) for line in lines(now, before, {})] == [
        ("a", "changed"),
        ("b", "built_in"),
        ("own.d", "own"),
        ("c", "off"),
    ]
    (raise_at,) = thresholds(now[0], before[0])
    assert (raise_at.now["high"], raise_at.was["high"], raise_at.now["low"], raise_at.changed) == (
        0.7,
        0.75,
        0.75,
        True,
    )
    assert columns(now[0], before[0]) == ["default", "high"]
    assert columns(before[1], None) == ["default"]


def test_what_a_page_would_send_again_is_what_was_not_sent_before() -> None:
    topic = Topic(p0=[(offset, offset) for offset in range(3)])
    reading = Backwards(topic, {0: 3}, {0: 0}, Budget())  # type: ignore[arg-type]

    async def all_of() -> list[Standing]:
        return [one for _ in range(3) if (one := await reading.next()) is not None]

    letters = asyncio.run(all_of())
    sent = {letters[0].letter.identity: 0, letters[2].letter.identity: 2}
    chosen = Found(letters, sent, None, reading.read, reading.oldest).chosen()
    assert (chosen.letters, chosen.left_out, chosen.unsure) == ([letters[1]], 2, 1)
