"""What the replay driver sends, and where: pure parts, no broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from schemas.codec import decode, decode_any
from schemas.envelope import Event
from schemas.events import INPUT_TOPICS
from services.cli.replay import replay as command
from services.common.kafka import partition_of
from services.common.recording import DAY_US, Line
from services.demo.replay import LARGEST_LINE, ReplayRefused, Target, overview, target, tick

RUN = 1_790_000_000_000_000
PARTITIONS = 4


def line(members: object) -> Line:
    raw = members if isinstance(members, bytes) else json.dumps(members, ensure_ascii=False).encode()
    return Line(raw, decode_any(raw))


def members(**more: object) -> dict[str, object]:
    base = {"specversion": "1.0", "id": "1", "source": "s", "type": "invoice.paid", "subject": "Ås & Co", "data": {}}
    return base | {"time": "2026-01-05T10:00:00Z", "data": {"invoice_id": "i", "amount": "1"}} | more


def test_an_event_goes_to_its_types_topic_and_its_accounts_partition() -> None:
    key = "Ås & Co".encode()
    assert target(line(members()), PARTITIONS) == Target("invoices", (partition_of(key, PARTITIONS),), key)


def test_a_broadcast_goes_to_every_partition_without_a_key() -> None:
    release = members(type="feature.released", data={"feature": "f"})
    del release["subject"]
    assert target(line(release), PARTITIONS) == Target("accounts", range(PARTITIONS), None)


@pytest.mark.parametrize(
    ("raw", "topic", "key"),
    [
        (b"not json", "usage", None),
        (b"[1]", "usage", None),
        (b'{"type": 5, "subject": {}}', "usage", None),
        (members(type="no.such", subject="acct"), "usage", b"acct"),
        (members(data={}, subject="acct"), "invoices", b"acct"),
        (members(subject=""), "invoices", None),
        (b'{"type": "invoice.paid", "subject": "\\ud800"}', "usage", None),
    ],
)
def test_a_refused_line_goes_as_near_to_its_place_as_can_be_told(raw: object, topic: str, key: bytes | None) -> None:
    found = target(line(raw), PARTITIONS)
    partition = 0 if key is None else partition_of(key, PARTITIONS)
    assert (found.topic, tuple(found.partitions), found.key) == (topic, (partition,), key)


@pytest.mark.parametrize("historical", [True, False])
def test_a_tick_is_an_event_of_every_input_topic(historical: bool) -> None:
    value = tick(RUN - RUN % DAY_US, historical=historical, run_start_us=RUN)
    for topic in INPUT_TOPICS:
        event = decode(topic, None, value)
        assert isinstance(event, Event), event
        assert (event.time_us, event.data.historical) == (RUN - RUN % DAY_US, historical)
        assert event.data.now == event.time


def test_the_overview_counts_and_knows_where_the_run_begins(tmp_path: Path) -> None:
    path = tmp_path / "events"
    big = b'"' + b"x" * LARGEST_LINE + b'"'
    rows = [b"bad", json.dumps(members()).encode(), big, json.dumps(members(type="no.such")).encode()]
    path.write_bytes(b"\n".join(rows))
    whole = overview([path], RUN, None)
    # Two midnights, and before the second the portfolio's measure, which is no event of the recording.
    assert (whole.steps, whole.events, whole.too_large) == (7, 1, 1)
    assert whole.refused == {"malformed": 1, "too_large": 1, "unknown_type": 1}
    assert (whole.opens_us % DAY_US, whole.last_midnight) == (0, 6)


def test_no_midnight_is_past_the_present(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(json.dumps(members()).encode())
    during = decode_any(path.read_bytes())
    assert isinstance(during, Event)
    whole = overview([path], during.time_us, None)
    assert (whole.steps, whole.last_midnight) == (2, 0)


def test_a_recording_without_a_usable_event_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"bad\n" + json.dumps(members()).encode())
    with pytest.raises(ReplayRefused, match=r"events: no usable event before 2020-01-01T00:00:00Z \(1 malformed\)"):
        overview([path], RUN, 1_577_836_800_000_000)


@pytest.mark.parametrize("arguments", [[], ["no-such-file"], ["--finish", __file__], ["--until", "soon", __file__]])
def test_wrong_usage_of_the_command(arguments: list[str]) -> None:
    assert CliRunner().invoke(command, arguments).exit_code == 2
