"""How the engine's process ends: what an operator reads is the first cause, and the exit code says that it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from services.common.settings import Settings
from services.signals.runtime import main
from services.signals.runtime.app import EngineApp
from services.signals.runtime.main import Core, Failed, Process


class Crashing(EngineApp):
    """An app that crashes when started, as Faust's do, and cancels what is left of itself when stopped."""

    def __init__(self, *reasons: BaseException, start: BaseException | None = None) -> None:
        self._reasons = reasons
        self._start = start
        self._over = asyncio.Event()

    async def start(self) -> None:
        if self._start is not None:
            raise self._start
        for reason in self._reasons:
            self.crash_reason = reason
        self._over.set()

    async def wait_until_stopped(self) -> None:
        await self._over.wait()

    async def stop(self) -> None:
        raise asyncio.CancelledError


async def ended(make: Callable[[], EngineApp]) -> None:
    """Run the app until it has ended."""
    process = Process(Settings(), cast(Core, None))
    await process._until_stopped(make(), asyncio.Event(), asyncio.sleep(60))


CAUSE = ValueError("the state cannot be read")


@pytest.mark.parametrize(
    "reasons",
    [
        (CAUSE,),
        (CAUSE, asyncio.CancelledError()),
        (asyncio.CancelledError(), CAUSE),
        (CAUSE, KeyError("a consequence")),
    ],
)
def test_the_first_cause_is_what_ends_the_engine(reasons: tuple[BaseException, ...]) -> None:
    with pytest.raises(ValueError, match="the state cannot be read"):
        asyncio.run(ended(lambda: Crashing(*reasons)))


def test_what_failed_at_the_start_is_the_cause() -> None:
    with pytest.raises(ValueError, match="the state cannot be read"):
        asyncio.run(ended(lambda: Crashing(start=CAUSE)))


@pytest.mark.parametrize("reasons", [(), (asyncio.CancelledError(),)])
def test_an_end_that_nobody_explains_is_a_failure_all_the_same(reasons: tuple[BaseException, ...]) -> None:
    with pytest.raises(Failed, match="start the engine again"):
        asyncio.run(ended(lambda: Crashing(*reasons)))


def test_a_failed_engine_exits_with_1_and_says_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(main.log, "error", lambda *words, **fields: said.append((words, fields)))

    async def run(process: Process, stop: asyncio.Event) -> None:
        await process._until_stopped(Crashing(CAUSE, asyncio.CancelledError()), stop, asyncio.sleep(60))

    monkeypatch.setattr(Process, "run", run)
    assert asyncio.run(main._run(Settings(), lambda config: cast(Core, None))) == 1
    assert said[0][1]["error"] == repr(CAUSE)
