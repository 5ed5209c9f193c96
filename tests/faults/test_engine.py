"""Faults of the engine itself under load, in their short form: every run ends in the checker's verdict."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.load import Historical
from tests.faults.run import FaultRun


def test_undisturbed(fault_run: Callable[..., FaultRun]) -> None:
    with fault_run() as run:
        run.start_worker("a")
        run.load(Historical(1500), rate=600)
        run.progress()
        run.settle()
        run.check()
