"""Somebody adds a signal by adding one file to the catalogue's folder, and nothing else anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

NEW_SIGNAL = '''
"""support.many_open: as many open tickets as nobody can look after."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence


def _raises(c: Context) -> Finding | None:
    return Finding("warning") if len(c.account.hot.tickets) >= c.p["raise_at"] else None


def _clears(c: Context) -> str | None:
    return "recovered" if len(c.account.hot.tickets) < c.p["clear_at"] else None


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    count = len(c.account.hot.tickets)
    return f"{count} tickets are open.", [evidence("open_tickets", count, "tickets", threshold=c.p["raise_at"])]


SIGNAL = Signal(
    id="support.many_open",
    version=1,
    title="Many open tickets",
    kind="risk",
    family="support",
    scope="account",
    severity="warning",
    pages=False,
    meaning="At least 3 tickets are open; clears at fewer than 2.",
    source="Customer Success (Mehta, Steinman, Murphy), law 2",
    reads=Fact.TICKETS,
    inputs=("ticket.opened", "ticket.closed"),
    needs=("ticket.opened",),
    action=Action(title="Close some", owner="support", playbook="many-open", runbook="support.many_open"),
    thresholds={"default": {"raise_at": 3, "clear_at": 2}},
    raises=_raises,
    clears=_clears,
    describe=_describe,
)


def _ticket(day: int, number: int, what: str = "opened") -> tuple[str, str, dict[str, object]]:
    priority = {"priority": "P3"} if what == "opened" else {}
    return (f"2026-01-{day:02d}T10:00:00Z", f"ticket.{what}", {"ticket_id": f"T{number}", **priority})


CASES = [
    Case(
        name="three are many, and one left is not",
        events=[_ticket(1, 1), _ticket(10, 2), _ticket(20, 3), _ticket(21, 1, "closed"), _ticket(22, 2, "closed")],
        until="2026-01-22",
        expect=[("2026-01-20T10:00:00Z", "raised", "warning"), ("2026-01-22T10:00:00Z", "cleared", "warning")],
    ),
    Case(name="two are few", events=[_ticket(1, 1), _ticket(10, 2)], until="2026-01-22", expect=[]),
]
'''

RUN_CASES = """
import json, sys
from tests.catalogue.test_cases import test_case
from services.signals.catalogue import entries
signal, cases, _ = entries()["support.many_open"]
for case in cases:
    test_case(signal, case)
print(len(cases), "cases")
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The source tree with one file more."""
    for name in ("schemas", "services", "tests", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    (tmp_path / "services/signals/catalogue/support_many_open.py").write_text(NEW_SIGNAL.lstrip())
    return tmp_path


def python(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in the copy, which comes before any installed one."""
    environment = {**os.environ, "PYTHONPATH": str(where), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ebbtide(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(where, "-m", "services.cli.main", *arguments)


def test_one_file_is_all_it_takes(copy: Path) -> None:
    before = ebbtide(copy, "catalogue", "check")
    assert before.returncode == 1
    assert "support.many_open: not in lock.json; run `ebbtide catalogue check --write`" in before.stderr

    written = ebbtide(copy, "catalogue", "check", "--write")
    assert written.returncode == 0, written.stderr
    assert ebbtide(copy, "catalogue", "check").returncode == 0
    assert "support.many_open" in ebbtide(copy, "catalogue", "list").stdout

    cases = python(copy, "-c", RUN_CASES)
    assert cases.stdout == "2 cases\n", cases.stderr

    events = [
        {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": "helpdesk",
            "type": "ticket.opened",
            "subject": "acme",
            "time": f"2026-01-0{number}T10:00:00Z",
            "data": {"ticket_id": f"T{number}", "priority": "P3"},
        }
        for number in (1, 2, 3)
    ]
    recording = copy / "events.ndjson"
    recording.write_text("\n".join(map(json.dumps, events)))
    done = ebbtide(copy, "backtest", str(recording), "--signals", "support.many_open")
    raised = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["time"], one["data"]["reason"]) for one in raised] == [("2026-01-03T10:00:00Z", "3 tickets are open.")]


def test_operators_can_override_it_at_once(copy: Path) -> None:
    file = copy / "catalogue.yaml"
    file.write_text("signals: {support.many_open: {thresholds: {default: {raise_at: 5}}}}")
    assert ebbtide(copy, "catalogue", "check", str(file)).returncode == 0
    file.write_text("signals: {support.many_open: {thresholds: {default: {raise_att: 5}}}}")
    refused = ebbtide(copy, "catalogue", "check", str(file))
    assert refused.returncode == 1
    assert "Did you mean raise_at?" in refused.stderr
