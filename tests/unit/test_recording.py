"""The order in which a recording is judged: files, merging, midnights, refused lines, late and future events."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import pytest

from schemas.codec import Refusal, decode_any
from services.common.recording import DAY_US, LONGEST_GAP_DAYS, Line, Midnight, merge, read, steps

NOON = 1_600_000_000_000_000 - 1_600_000_000_000_000 % DAY_US + DAY_US // 2
MIDNIGHT = NOON - DAY_US // 2
FAR = NOON + 1000 * DAY_US
BAD = Line(b"{", decode_any(b"{"))


def event(us: int, name: str = "e", kind: str = "usage.logged_in", **data: object) -> Line:
    time = dt.datetime.fromtimestamp(us / 1e6, dt.UTC).isoformat()
    members = {
        "specversion": "1.0",
        "id": name,
        "source": "s",
        "type": kind,
        "time": time,
        "data": data or {"user": "u"},
    }
    if kind != "clock.tick":
        members["subject"] = "a"
    raw = json.dumps(members).encode()
    decoded = decode_any(raw)
    assert not isinstance(decoded, Refusal), decoded
    return Line(raw, decoded)


def shown(lines: list[Line], **options: int | None) -> list[str | int]:
    """Steps as ids, 'refused', or midnights in days after the first one."""
    settings = {"run_start_us": FAR} | options
    found = list(steps(lines, **settings))  # type: ignore[arg-type]
    assert [step.sequence for step in found] == list(range(len(found)))
    return [
        (step.what.now_us - MIDNIGHT) // DAY_US
        if isinstance(step.what, Midnight)
        else "refused"
        if isinstance(step.what.event, Refusal)
        else step.what.event.id
        for step in found
    ]


def test_a_day_is_opened_and_ended_by_its_midnights() -> None:
    assert shown([event(NOON, "a"), event(NOON + 1, "b")]) == [0, "a", "b", 1]


def test_every_midnight_stands_before_the_first_event_at_or_past_it() -> None:
    lines = [event(NOON, "a"), event(MIDNIGHT + 2 * DAY_US - 1, "b"), event(MIDNIGHT + 3 * DAY_US, "c")]
    assert shown(lines) == [0, "a", 1, "b", 2, 3, "c", 4]


def test_late_events_stand_where_they_came_and_tick_nothing() -> None:
    assert shown([event(NOON + DAY_US, "a"), event(NOON, "late")]) == [1, "a", "late", 2]


def test_refused_lines_keep_their_place_and_tick_nothing() -> None:
    assert shown([BAD, event(NOON, "a"), BAD]) == [0, "refused", "a", "refused", 1]
    assert shown([BAD]) == ["refused"]


def test_future_events_are_kept_and_tick_nothing() -> None:
    now = NOON + 60
    lines = [event(NOON, "a"), event(now + DAY_US, "just not"), event(now + DAY_US + 1, "future")]
    assert shown(lines, run_start_us=now) == [0, "a", 1, "just not", "future", 2]


def test_until_leaves_later_events_out_and_ends_with_its_midnight() -> None:
    lines = [event(NOON, "a"), event(NOON + DAY_US, "b"), event(NOON, "c")]
    assert shown(lines, until_us=MIDNIGHT + DAY_US) == [0, "a", "c", 1]
    assert shown(lines, until_us=MIDNIGHT + 4 * DAY_US) == [0, "a", 1, "b", "c", 2, 3, 4]


def test_ticks_of_the_recording_are_left_out() -> None:
    tick = event(NOON + 9 * DAY_US, kind="clock.tick", now="2020-09-30T00:00:00Z")
    assert shown([event(NOON, "a"), tick]) == [0, "a", 1]


def test_an_absurd_gap_is_not_ticked_day_by_day() -> None:
    far = 10 * LONGEST_GAP_DAYS
    found = shown([event(NOON, "a"), event(NOON + far * DAY_US, "b")], run_start_us=NOON + far * DAY_US)
    assert len(found) == LONGEST_GAP_DAYS + 5
    assert found[-3:] == [far, "b", far + 1]


def test_merging_is_by_time_and_keeps_each_files_order() -> None:
    first = [event(10, "a10"), event(30, "a30"), event(20, "a20-late")]
    second = [event(10, "b10"), BAD, event(30, "b30")]
    merged = list(merge([first, second]))
    names = ["refused" if isinstance(line.event, Refusal) else line.event.id for line in merged]
    assert names == ["a10", "b10", "refused", "a30", "a20-late", "b30"]


@pytest.mark.parametrize("zipped", [False, True])
def test_read_takes_plain_and_gzip_and_leaves_empty_lines_out(tmp_path: Path, zipped: bool) -> None:
    text = event(NOON, "a").raw + b"\r\n\n  \nnot json\n" + event(NOON, "b").raw
    path = tmp_path / "events"
    path.write_bytes(gzip.compress(text) if zipped else text)
    found = list(read(path))
    assert [line.raw for line in found] == [event(NOON, "a").raw, b"not json", event(NOON, "b").raw]
    assert isinstance(found[1].event, Refusal)


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(event(NOON).raw * 100)[:-12])
    with pytest.raises(OSError, match=r"cut\.gz: damaged gzip"):
        list(read(path))
