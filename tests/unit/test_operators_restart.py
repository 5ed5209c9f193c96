"""A file that changes between one start and the next: what was open, and by which rules."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.codec import decode_any
from schemas.envelope import Event
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.signals import Transition
from services.api import coverage
from services.signals.backtest.run import MemoryStore
from services.signals.catalogue import laws, load
from services.signals.core.days import DAY_US
from services.signals.core.episodes import Episode
from services.signals.core.partition import PartitionEngine
from services.signals.core.signal import Catalogue
from services.signals.operators import CatalogueFileError
from services.signals.operators.file import understand
from services.signals.runtime.main import real_core
from tests.oracle.build import at, event, numbered
from tests.oracle.records import us

EVERY_ACCOUNT = 1 << 30
D0 = us(at(0, "00:00:00"))
OWN = {
    "kind": "risk",
    "title": "T",
    "when": {"count": "usage", "at_least": 3, "days": 90},
    "action": "A",
    "owner": "csm",
}
WATCHED = ("own.s", "usage.silence")
USED = [event("usage.feature_used", at(n), feature="x") for n in range(5)]


def catalogue(signals: dict[str, Any]) -> Catalogue:
    built_in = load()
    return understand({"signals": signals}, built_in.by_id).over(built_in)


def _word(because: Any) -> str:
    return because if isinstance(because, str) else ""


class Life:
    """One partition, stopped and started with one catalogue after the other."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.offset = 0
        self.health: dict[str, Any] = {}
        self.said: list[tuple[str, Transition]] = []

    def run(self, by: Catalogue, events: list[dict[str, Any]], until: int) -> list[tuple[str, str, str]]:
        """Start, take events, tick every midnight up to `until`, stop: what was said of which signal, and why it cleared."""
        engine = self._start(by)
        said: list[Transition] = []
        decoded = [decode_any(json.dumps(one).encode()) for one in events]
        day = engine.clock // DAY_US - D0 // DAY_US + 1 if engine.clock else 0
        for now in range(day, until + 1):
            for topic in range(len(INPUT_TOPICS)):
                engine.tick(topic, D0 + now * DAY_US, False)
            while engine.work(EVERY_ACCOUNT):
                pass
            for one in decoded:
                if isinstance(one, Event) and one.time_us // DAY_US == D0 // DAY_US + now:
                    self._apply(engine, one)
            said += self._keep(engine)
        return [
            (one.type.removeprefix("signal."), one.data.signal, _word(one.data.cleared_because))
            for one in said
            if one.data.signal in WATCHED
        ]

    def before_midnight(self, by: Catalogue, one: dict[str, Any]) -> set[str]:
        """Start, take an event of the running day, stop: the signals that it raised."""
        engine = self._start(by)
        self._apply(engine, decode_any(json.dumps(one).encode()))
        return {change.data.signal for change in self._keep(engine)}

    def _start(self, by: Catalogue) -> PartitionEngine:
        engine = PartitionEngine(0, INPUT_TOPICS, by, self.store, partitions=1)
        engine.restore()
        self._keep(engine)
        return engine

    def _apply(self, engine: PartitionEngine, one: Any) -> None:
        self.offset += 1
        engine.apply(INPUT_TOPICS.index(EVENT_TYPES[one.type].topic), self.offset, b"acme", b"", one, 1 << 62)

    def _keep(self, engine: PartitionEngine) -> list[Transition]:
        effects = engine.take(1, 1e9)
        for key, value in effects.state:
            if value is None:
                self.store.pop(key, None)
            else:
                self.store[key] = value
        for key, value in effects.health:
            self.health[key.decode()] = json.loads(value) if value else None
        self.said += [(topic, msgspec.json.decode(value, type=Transition)) for topic, _, value, _ in effects.signals]
        return [change for _, change in self.said[-len(effects.signals) :]] if effects.signals else []

    def episode(self, signal: str) -> str | None:
        """The open episode of a signal, as the account's health has it."""
        listed = self.health["acme"]["open_episodes"]
        return next((one["episode_id"] for one in listed if one["signal"] == signal), None)

    @property
    def open(self) -> set[str]:
        """Signals that the account's health lists as open."""
        return {one["signal"] for one in self.health["acme"]["open_episodes"]}


def test_an_own_signal_that_is_switched_off_is_cleared() -> None:
    life = Life()
    assert ("raised", "own.s", "") in life.run(catalogue({"own.s": OWN}), numbered(USED), 4)
    assert "own.s" in life.open
    assert life.run(catalogue({"own.s": {**OWN, "enabled": False}}), [], 6) == [("cleared", "own.s", "switched_off")]
    assert "own.s" not in life.open


def test_a_built_in_signal_that_is_switched_off_is_cleared() -> None:
    life = Life()
    assert ("raised", "usage.silence", "") in life.run(load(), numbered(USED), 40)
    off = life.run(catalogue({"usage.silence": {"enabled": False}}), [], 42)
    assert ("cleared", "usage.silence", "switched_off") in off
    assert "usage.silence" not in life.open


def test_an_own_signal_that_is_gone_is_cleared_by_what_its_episode_knows() -> None:
    life = Life()
    own = {**OWN, "kind": "opportunity", "version": 7, "pages": True}
    life.run(catalogue({"own.s": own}), numbered(USED), 4)
    opened = life.episode("own.s")
    assert life.run(load(), [], 6) == [("cleared", "own.s", "switched_off")]
    assert "own.s" not in life.open
    topic, last = life.said[-1]
    assert (topic, last.id, last.time) == ("signals.opportunity", f"{opened}-2", dt.datetime(2024, 1, 6, tzinfo=dt.UTC))
    assert (last.data.kind, last.data.version, last.data.pages) == ("opportunity", 7, True)
    assert last.data.reason == (
        "Cleared, the operators switched the signal off. The catalogue has no signal own.s any more."
    )


def test_of_an_episode_of_before_that_was_kept_only_health_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life()
    monkeypatch.setattr("services.signals.core.engine.Episode", lambda *values: Episode(*values[:7]))
    life.run(catalogue({"own.s": OWN}), numbered(USED), 4)
    assert life.run(load(), [], 6) == []
    assert "own.s" not in life.open


def test_until_it_is_cleared_what_sums_up_risks_passes_over_it() -> None:
    """The account's risks are summed up in the hours between the start with the other file and the midnight that clears it."""
    life = Life()
    life.run(catalogue({"own.s": OWN}), numbered(USED), 4)
    answer = {**event("survey.answered", at(4, "12:00:00"), survey_id="s", kind="nps", score=3), "id": "later"}
    assert life.before_midnight(load(), answer) == {"survey.detractor"}
    assert life.run(load(), [], 7) == [("cleared", "own.s", "switched_off")]


def test_an_own_signal_that_comes_back_opens_a_new_episode() -> None:
    life = Life()
    life.run(catalogue({"own.s": OWN}), numbered(USED), 4)
    first = life.episode("own.s")
    life.run(load(), [], 6)
    assert life.run(catalogue({"own.s": OWN}), [], 8) == [("raised", "own.s", "")]
    assert life.episode("own.s") not in (None, first)


def test_other_thresholds_are_in_force_from_the_next_midnight() -> None:
    life = Life()
    assert life.run(catalogue({"own.s": {**OWN, "when": {**OWN["when"], "at_least": 6}}}), numbered(USED), 5) == []
    assert life.run(catalogue({"own.s": OWN}), [], 6) == [("raised", "own.s", "")]


def test_a_measure_that_came_later_warms_up_from_then_on() -> None:
    """The account is old; what it did before the measure was in force is not known, and that is not shown as fine."""
    silent = {**OWN, "when": {"silent": "logins", "days": 10}}
    raw = {"measures": {"logins": {"event": "usage.logged_in"}}, "signals": {"own.s": silent}}
    built_in = load()
    by = understand(raw, built_in.by_id).over(built_in)
    life = Life()
    life.run(built_in, numbered(USED), 20)
    assert "counted_since" not in life.health["acme"]
    logged_in = [event("usage.logged_in", at(22), user="ann")]
    life.run(by, [{**one, "id": "later"} for one in logged_in], 25)
    record = coverage.record_of(json.dumps(life.health["acme"]).encode())
    (state,) = [one for one in coverage.coverage(record, laws.described(by.signals)) if one.signal == "own.s"]
    assert state.state == "warming"
    assert state.until == dt.datetime(2024, 1, 21, tzinfo=dt.UTC) + dt.timedelta(days=11)
    new = Life()
    new.run(by, numbered([*USED, *logged_in]), 25)
    assert "counted_since" not in new.health["acme"], "it was in force from the first record on"


def test_the_engine_takes_the_file_of_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.common.settings import Settings

    file = tmp_path / "catalogue.yaml"
    file.write_text(json.dumps({"signals": {"own.s": OWN}}))
    monkeypatch.setenv("EBBTIDE_CATALOGUE_FILE", str(file))
    core = real_core(Settings())
    engine = core.engines(1)(0, MemoryStore())
    assert engine.state.catalogue == catalogue({"own.s": OWN}).digest != load().digest
    file.write_text(json.dumps({"signals": {"own.s": {**OWN, "owner": "me"}}}))
    with pytest.raises(CatalogueFileError, match=r"signals\.own\.s\.owner: 'me' is unknown"):
        real_core(Settings())
