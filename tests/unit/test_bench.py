"""The parts of the benchmarks that are pure: what they offer, how they count, and the sizing formulas."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter

import pytest

from schemas.codec import Refusal, decode
from tests.bench.report import Report, Table, percentile
from tests.bench.sizing import Constants, need
from tests.bench.workload import FIRST_DAY, LATE_DAYS, Workload

SMALL = Workload(events=3000, accounts=50, days=20)


def test_the_workload_is_the_same_on_every_run() -> None:
    assert list(SMALL.records()) == list(SMALL.records())


@pytest.mark.parametrize(
    "workload",
    [
        SMALL,
        dataclasses.replace(SMALL, uniform=True, hot=0.3, midnights=True),
        dataclasses.replace(SMALL, steady=True, midnights=True),
    ],
)
def test_every_record_of_the_workload_is_of_the_contract(workload: Workload) -> None:
    records = list(workload.records())
    refused = [event for r in records if isinstance(event := decode(r.topic, r.key, r.value), Refusal)]
    assert refused == []
    assert sum(record.key is not None for record in records) == workload.count()


def test_the_workload_is_in_time_order_but_for_the_late() -> None:
    newest = FIRST_DAY - dt.timedelta(days=LATE_DAYS)
    late = size = 0
    for topic, key, value in SMALL.records():
        if topic == "usage":
            event = decode(topic, key, value)
            assert not isinstance(event, Refusal)
            assert event.time > newest - dt.timedelta(days=LATE_DAYS)
            late += event.time < newest
            newest = max(newest, event.time)
            size += len(value)
    assert 0.01 < late / SMALL.events < 0.03
    assert 380 < size / SMALL.events < 430
    assert newest < FIRST_DAY + dt.timedelta(days=SMALL.days)


def test_a_steady_workload_has_the_same_size_on_fewer_days() -> None:
    def days(workload: Workload) -> int:
        events = [(r.key, decode(r.topic, r.key, r.value)) for r in workload.records() if r.topic == "usage"]
        assert len(events) == workload.events
        return len({(key, event.time.date()) for key, event in events if not isinstance(event, Refusal)})

    assert days(dataclasses.replace(SMALL, steady=True)) < 0.6 * days(SMALL)


def test_a_uniform_workload_gives_every_account_its_turn() -> None:
    workload = dataclasses.replace(SMALL, uniform=True, profiles=False)
    keys = [record.key for record in workload.records()]
    for first in range(0, SMALL.events, SMALL.accounts):
        assert len(set(keys[first : first + SMALL.accounts])) == SMALL.accounts


def test_a_hot_account_has_its_share() -> None:
    workload = dataclasses.replace(SMALL, hot=0.3, profiles=False)
    assert 0.25 < Counter(r.key for r in workload.records())[b"acct-hot"] / SMALL.events < 0.35


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.95, 10), (0.99, 10), (1.0, 10), (0.1, 1)])
def test_percentiles_are_measured_values(share: float, expected: int) -> None:
    assert percentile([float(n) for n in range(10, 0, -1)], share) == expected


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 0.5)


def test_a_report_shows_what_was_not_measured_as_a_dash() -> None:
    report = Report("x", {}, [Table("T", ("what", "µs"), [("a", 1234.5), ("b", None), ("c", 0.1234)])], ["noisy"])
    assert str(report).splitlines()[3:6] == ["a     1,234", "b         -", "c     0.123"]
    assert str(report).endswith("Note: noisy")


def test_sizing_follows_its_formulas() -> None:
    constants = Constants(engine_us=10.0, peak=3.0, utilisation=0.6)
    assert need(100_000, constants).workers == 5
    assert need(1_000_000, constants).workers == 50
    assert need(1_000_000, constants).partitions == 256
    assert need(1_000, constants).partitions == 4
    small, large = need(10_000, constants), need(100_000, constants)
    assert large.broker_disk_tib == pytest.approx(10 * small.broker_disk_tib)
    assert large.recorder_share == pytest.approx(10 * small.recorder_share)
