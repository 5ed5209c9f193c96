"""The invented portfolio: valid events, the same bytes for a seed, every archetype as it is meant."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from schemas.codec import decode_any
from schemas.envelope import Event
from services.cli.simulate import simulate as command
from services.common.recording import read
from services.demo import portfolio
from services.demo.portfolio import PER_MILLE, Simulation, simulate

END = dt.date(2026, 3, 31)


@cache
def made() -> tuple[Simulation, list[Event]]:
    simulation = simulate(76, 240, 5, END)
    events = [decode_any(line) for _, line in simulation.events]
    refused = [event for event in events if not isinstance(event, Event)]
    assert not refused, refused[:3]
    return simulation, [event for event in events if isinstance(event, Event)]


def test_every_event_is_valid_and_within_the_days_asked_for() -> None:
    simulation, events = made()
    first = dt.datetime.combine(END - dt.timedelta(days=239), dt.time(), dt.UTC)
    end = dt.datetime.combine(END, dt.time(), dt.UTC) + dt.timedelta(days=1)
    history = [event for event in events if event.time < first]
    assert {event.type for event in history} == {
        "account.subscription_changed",
        "account.updated",
    }  # contracts of long ago, imported
    assert all(event.time < end for event in events)
    arrivals = [at for at, _ in simulation.events]
    assert arrivals == sorted(arrivals)
    assert first.timestamp() * 1e6 <= arrivals[0]
    assert arrivals[-1] < end.timestamp() * 1e6


def test_the_same_seed_gives_the_same_bytes_and_another_one_others() -> None:
    def digest(seed: int) -> str:
        return hashlib.sha256(b"\n".join(line for _, line in simulate(12, 60, seed, END).events)).hexdigest()

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)
    labels = made()[0].labels
    assert portfolio.simulate_labels(76, 240, 5, END) == labels


def test_some_events_are_late_and_some_come_twice() -> None:
    _, events = made()
    newest, late = events[0].time, 0
    for event in events:
        late += event.time < newest
        newest = max(newest, event.time)
    repeated = sum(count - 1 for count in Counter((event.source, event.id) for event in events).values())
    assert 0.003 * len(events) < late < 0.03 * len(events)
    assert 0.002 * len(events) < repeated < 0.01 * len(events)


def test_every_archetype_is_there_and_most_customers_are_well() -> None:
    labels = made()[0].labels
    kinds = Counter(label.archetype for label in labels)
    assert set(kinds) == set(PER_MILLE)
    assert kinds["healthy"] > 35
    assert len({label.account for label in labels}) == 76
    assert sum(PER_MILLE.values()) == 1000
    for label in labels:
        assert label.churned_on is None or (label.trouble_from is not None and label.churned_on > label.trouble_from)


def test_archetypes_do_what_their_label_says() -> None:
    simulation, events = made()
    use: dict[str, Counter[dt.date]] = defaultdict(Counter)
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        if event.subject is not None:
            kinds[event.subject][event.type] += 1
            if event.type == "usage.feature_used":
                use[event.subject][event.time.date()] += event.data.count

    def total(account: str, since: dt.date, days: int = 28) -> int:
        return sum(use[account][since + dt.timedelta(days=number)] for number in range(days))

    for label in simulation.labels:
        if label.trouble_from is not None and label.archetype == "silent":
            assert total(label.account, label.trouble_from - dt.timedelta(days=28)) > 20
            assert total(label.account, label.trouble_from + dt.timedelta(days=2)) == 0
        if label.trouble_from is not None and label.archetype == "declining":
            before = total(label.account, label.trouble_from - dt.timedelta(days=28))
            assert total(label.account, label.trouble_from + dt.timedelta(days=40), 5) * 28 / 5 < 0.75 * before
        if label.archetype == "late_onboarding":
            assert kinds[label.account]["account.milestone_planned"] > 2
        if label.archetype == "stuck_pilot":
            assert not kinds[label.account]["invoice.issued"]
        if label.archetype == "sponsor_lost":
            assert kinds[label.account]["account.contact_left"] in (1, 2)
        if label.churned_on is not None:
            assert kinds[label.account]["account.churned"] == 1
            assert max(use[label.account], default=label.churned_on) <= label.churned_on


@pytest.mark.parametrize(
    ("accounts", "days", "end", "named"),
    [(0, 10, END, "accounts"), (10, 0, END, "days"), (1, 1, dt.date(1, 1, 1), "end_day")],
)
def test_bad_arguments_are_named(accounts: int, days: int, end: dt.date, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        simulate(accounts, days, 1, end)


def test_the_smallest_portfolios_work() -> None:
    assert simulate(1, 1, 1, END).labels[0].account == "acct-0001"
    assert all(isinstance(decode_any(line), Event) for _, line in simulate(3, 40, 1, END).events)


def test_the_command_writes_files_that_can_be_read_back(tmp_path: Path) -> None:
    arguments = ["--accounts", "3", "--days", "30", "--end", "2026-03-31", "--out", str(tmp_path / "new"), "--json"]
    first = CliRunner().invoke(command, arguments)
    assert first.exit_code == 0, first.output
    report = json.loads(first.stdout)
    content = (tmp_path / "new" / "events.ndjson.gz").read_bytes()
    assert len(list(read(tmp_path / "new" / "events.ndjson.gz"))) == report["events"]
    assert (tmp_path / "new" / "labels.csv").read_text().startswith("account,archetype,tier,trouble_from,churned_on\n")
    CliRunner().invoke(command, arguments)
    assert (tmp_path / "new" / "events.ndjson.gz").read_bytes() == content
    assert gzip.decompress(content).endswith(b"}\n")
    story = CliRunner().invoke(command, ["--story", "--out", str(tmp_path)])
    assert story.exit_code == 0
    assert len(list(read(tmp_path / "financiality.ndjson"))) > 10_000


def test_the_command_names_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = CliRunner().invoke(command, ["--accounts", "3", "--days", "3", "--out", str(tmp_path / "file" / "x")])
    assert (wrong.exit_code, "--out" in wrong.output) == (1, True)
    assert CliRunner().invoke(command, ["--accounts", "0", "--out", str(tmp_path)]).exit_code == 2
    assert CliRunner().invoke(command, ["--end", "0001-01-01", "--out", str(tmp_path)]).exit_code == 2
