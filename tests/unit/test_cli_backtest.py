"""`ebbtide backtest` as a user meets it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from services.cli.main import main
from services.demo import story
from services.demo.story_results import SCORED


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("story") / "events.ndjson.gz"
    lines = [line for _, line in story.events()]
    lines[100:100] = [b"not json", b'{"type":"no.such"}', b'{"type":"usage.logged_in","data":{}}']
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    return path


def backtest(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["backtest", *map(str, arguments)])


def test_transitions_on_stdout_in_order_of_time_and_refusals_on_stderr(recording: Path) -> None:
    done = backtest(recording)
    assert done.exit_code == 0
    changes = [json.loads(line) for line in done.stdout.splitlines()]
    times = [change["time"] for change in changes]
    assert sum(change["data"]["signal"] not in SCORED for change in changes) == len(story.expected())
    assert times == sorted(times)
    assert "3 refused" in done.stderr
    assert "refused, malformed: 1" in done.stderr
    assert "refused, unknown_type: 1" in done.stderr
    assert "refused, unattributed: 1" in done.stderr


def test_signals_filters_the_output_only(recording: Path) -> None:
    done = backtest(recording, "--signals", "support.burst,survey.detractor")
    assert {json.loads(line)["data"]["signal"] for line in done.stdout.splitlines()} == {
        "support.burst",
        "survey.detractor",
    }


def test_until_leaves_later_events_out(recording: Path) -> None:
    done = backtest(recording, "--until", "2014-10-07")
    times = [json.loads(line)["time"] for line in done.stdout.splitlines()]
    assert times
    assert max(times) <= "2014-10-08T00:00:00Z"


def test_out_writes_what_was_printed_and_a_summary(recording: Path, tmp_path: Path) -> None:
    done = backtest(recording, "--out", tmp_path / "result")
    assert (tmp_path / "result" / "transitions.ndjson").read_text() == done.stdout
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    assert summary["transitions"]["support.burst raised"] == 1
    assert summary["refused"] == {"malformed": 1, "unknown_type": 1, "unattributed": 1}
    assert summary["records"] == summary["applied"] + summary["duplicate"] + summary["dead"]


def test_two_runs_print_the_same_bytes(recording: Path) -> None:
    assert backtest(recording).stdout == backtest(recording).stdout


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("/no/such/file",), 2)])
def test_wrong_usage(arguments: tuple[str, ...], code: int) -> None:
    assert backtest(*arguments).exit_code == code


def test_an_unknown_signal_is_named(recording: Path) -> None:
    done = backtest(recording, "--signals", "usage.declined")
    assert done.exit_code == 2
    assert "usage.declined" in done.stderr


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.ndjson.gz"
    path.write_bytes(gzip.compress(b"{}" * 1000)[:30])
    done = backtest(path)
    assert done.exit_code == 1
    assert str(path) in done.stderr
