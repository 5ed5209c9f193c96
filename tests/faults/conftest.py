"""What fault tests share: a broker without topics, fault runs by name, and the summary at the end of a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from tests.faults.run import REPORTS, FaultRun


@pytest.fixture
def broker(kafka: LocalKafka) -> LocalKafka:
    """The session's broker without any topic."""
    kafka.delete_all_topics()
    return kafka


@pytest.fixture
def fault_run(broker: LocalKafka, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., FaultRun]:
    """Makes the test's fault run on the session's broker, named after the test; arguments as `FaultRun` has them."""

    def make(**options: object) -> FaultRun:
        name = str(options.pop("name", request.node.name))
        return FaultRun(broker.bootstrap, tmp_path / "run", name=name, **options)  # type: ignore[arg-type]

    return make


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was done to the engine and what came of it."""
    if REPORTS:
        terminalreporter.section("fault runs")
        for report in REPORTS:
            terminalreporter.write_line(str(report))
