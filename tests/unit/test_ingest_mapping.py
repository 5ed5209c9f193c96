"""The mapping file: checked whole, every mistake told with its path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.ingest.mapping import MappingError, compile_mapping, load


def test_the_default_is_right_and_covers_every_call() -> None:
    mapping = load()
    assert all(mapping.calls.values())
    assert mapping.otherwise is not None


def test_a_file_is_laid_over_the_default(tmp_path: Path) -> None:
    own = tmp_path / "mapping.yaml"
    own.write_text(
        "track: {events: {logged in: null, Deal Won: {type: usage.value_reached, data: {goal: event}}}}\nscreen: null\n"
    )
    mapping = load(own)
    assert mapping.track("Logged In") is None
    rule = mapping.track("deal won")
    assert rule is not None
    assert rule.type.name == "usage.value_reached"
    assert mapping.track("Ticket Opened") is not None, "names of the default stay"
    assert mapping.otherwise is not None
    assert mapping.calls["screen"] is None
    assert mapping.calls["page"] is not None


def test_the_example_in_the_docs_is_right(tmp_path: Path) -> None:
    docs = Path(__file__).parents[2] / "docs" / "sending-events.md"
    (example,) = re.findall(r"```yaml\n(.*?)```", docs.read_text(), re.DOTALL)
    own = tmp_path / "mapping.yaml"
    own.write_text(example)
    mapping = load(own)
    assert mapping.features == {"Forecast Built": {"core": True, "advanced": True}}
    assert mapping.track("Heartbeat") is None


def test_a_page_cannot_erase_an_account() -> None:
    rule = load().track("account.erased")
    assert rule is not None
    assert rule.type.name == "usage.feature_used"


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(MappingError) as told:
        compile_mapping(
            {
                "tracks": {},
                "account": ["groupId.x", 7],
                "track": {
                    "events": {
                        "A": {"type": "usage.nothing"},
                        "B": {"type": "usage.value_reached", "data": {"goals": "event"}},
                        "C": {"type": "usage.logged_in", "take": "everything", "when": ["event", "name"]},
                        "D": "usage.logged_in",
                        "E": {"type": "clock.tick"},
                        "F": {"type": "usage.logged_in", "data": {"user": {"value": 1}}},
                    },
                    "default": {"data": {}},
                },
                "features": {"X": {"core": "yes"}, "Y": {"big": True}},
            }
        )
    paths = [line.split(":")[0] for line in str(told.value).splitlines()]
    assert paths == [
        "tracks",
        "track.events.A.type",
        "track.events.B.data.goals",
        "track.events.B.data",
        "track.events.C.take",
        "track.events.C.when",
        "track.events.D",
        "track.events.E.type",
        "track.events.F.data.user",
        "account",
        "account",
        "track.default.type",
        "features.X",
        "features.Y",
    ]


@pytest.mark.parametrize("text", ["- a list", "a: [", "\x00"])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    own = tmp_path / "mapping.yaml"
    own.write_text(text)
    with pytest.raises(MappingError, match=r"mapping\.yaml"):
        load(own)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="EBBTIDE_INGEST_MAPPING_FILE"):
        load(tmp_path / "none.yaml")
