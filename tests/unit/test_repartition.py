"""Where the records of a topic go when it gets more partitions, and in which order."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any, NamedTuple

import pytest

from services.cli.repartition import Placed, Repartition, SourceClock, decoded
from services.common.kafka import partition_of

T0 = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
APPENDED = round(dt.datetime(2026, 3, 9, tzinfo=dt.UTC).timestamp() * 1000)


class Record(NamedTuple):
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = APPENDED


def after(seconds: float) -> str:
    return (T0 + dt.timedelta(seconds=seconds)).isoformat()


def login(account: str, seconds: float, sequence: int | None = None) -> Record:
    event = {"specversion": "1.0", "id": f"{account}-{seconds}", "source": "t", "type": "usage.logged_in"}
    value = json.dumps(event | {"subject": account, "time": after(seconds), "data": {"user": "u"}}).encode()
    return Record(account.encode(), value, place(sequence))


def tick(seconds: float, *, historical: bool = False, sequence: int | None = None, source: str = "t") -> Record:
    event = {"specversion": "1.0", "id": f"{source}-{seconds}", "source": source, "type": "clock.tick"}
    data = {"now": after(seconds), "historical": historical}
    return Record(None, json.dumps(event | {"time": after(seconds), "data": data}).encode(), place(sequence))


def place(sequence: int | None) -> tuple[tuple[str, bytes], ...]:
    return () if sequence is None else (("sequence", b"%d" % sequence), ("run-start", b"%d" % (APPENDED * 1000)))


def clocks(records: list[Record]) -> list[tuple[float, int]]:
    """The clock at each record, in seconds after T0."""
    clock = SourceClock()
    found = [clock.of(record, decoded("usage", record)) for record in records]
    return [((at / 1e6) - T0.timestamp() if at else 0, sequence) for at, sequence in found]


def spread(sources: list[list[Record]], targets: int) -> list[Placed]:
    """All records in the order of their clocks, placed."""
    where = Repartition(len(sources), targets)
    rows: list[tuple[Any, ...]] = []
    for number, records in enumerate(sources):
        clock = SourceClock()
        rows += [(clock.of(r, decoded("usage", r)), number, index, r) for index, r in enumerate(records)]
    placed = (where.place(number, record, decoded("usage", record)) for _, number, _, record in sorted(rows))
    return [each for each in placed if each is not None]


def test_a_clock_never_falls_and_what_was_refused_moves_none() -> None:
    future = login("a", 60 * 86_400)
    assert clocks(
        [login("a", 5), login("a", 3), future, Record(b"a", b"no json"), tick(4), tick(9), login("a", 1)]
    ) == [
        (5, -1),
        (5, -1),
        (5, -1),
        (5, -1),
        (5, -1),
        (9, -1),
        (9, -1),
    ]


def test_in_a_replay_the_place_in_the_file_is_the_clock() -> None:
    opened = tick(0, historical=True, sequence=0)
    assert clocks(
        [login("a", -9), opened, login("a", 50, 1), login("b", 7, 3), login("c", 99), tick(60), login("d", 61)]
    ) == [
        (-9, -1),
        (0, 0),
        (0, 1),
        (0, 3),
        (0, 3),
        (60, -1),
        (61, -1),
    ]


@pytest.mark.parametrize("targets", [3, 4, 7])
def test_accounts_keep_their_order_and_go_where_producers_send_them(targets: int) -> None:
    chance = random.Random(targets)
    names = [f"acct-{n}" for n in range(30)]
    sources: list[list[Record]] = [[], []]
    for n in range(400):
        name = chance.choice(names)
        sources[partition_of(name.encode(), 2)].append(login(name, n + chance.uniform(-40, 0)))
    placed = spread(sources, targets)
    assert len(placed) == 400
    assert all(each.target == partition_of(each.key or b"", targets) for each in placed)
    for name in names:
        before = [r.value for records in sources for r in records if r.key == name.encode()]
        assert [each.value for each in placed if each.key == name.encode()] == before


def test_headers_and_the_time_of_the_append_go_along() -> None:
    (placed,) = spread([[login("a", 1, 7)], []], 4)
    assert (placed.timestamp, placed.headers) == (APPENDED, place(7))


def test_a_broadcast_goes_to_every_partition_once() -> None:
    event = {"specversion": "1.0", "id": "r", "source": "t", "type": "feature.released", "time": after(1)}
    record = Record(None, json.dumps(event | {"data": {"feature": "x"}}).encode())
    where = Repartition(2, 4)
    first = where.place(0, record, decoded("accounts", record))
    assert first is not None
    assert first.target is None
    assert where.place(1, record, decoded("accounts", record)) is None


def test_what_is_no_event_stays_in_its_partition() -> None:
    record = Record(None, b"no json")
    placed = Repartition(2, 4).place(1, record, decoded("usage", record))
    assert placed is not None
    assert placed.target == 1


def test_a_tick_is_said_once_it_is_true_of_every_partition() -> None:
    sources = [
        [tick(10, source="a"), tick(20, source="a"), tick(30, source="a")],
        [tick(12, source="b"), tick(21, source="b")],
    ]
    assert [json.loads(each.value or b"")["data"]["now"] for each in spread(sources, 4)] == [
        after(10),
        after(12),
        after(20),
        after(21),
    ]


def test_the_ticks_of_a_replay_stay_one_and_open_and_close_it_once() -> None:
    run = [
        tick(-5),
        tick(0, historical=True, sequence=0),
        tick(86_400, historical=True, sequence=5),
        tick(86_400),
        tick(90_000),
    ]
    said = [json.loads(each.value or b"")["data"] for each in spread([run, run, run], 4)]
    assert said == [json.loads(record.value)["data"] for record in run]


def test_an_event_that_was_late_for_its_tick_stays_late() -> None:
    # In partition 1 the event came after the tick that says that nothing older comes; in the merged log it has to.
    sources = [[tick(100, source="a")], [tick(100, source="b"), login("x", 40)]]
    placed = spread(sources, 4)
    assert [each.key for each in placed] == [None, b"x"]
