"""The task that shows a replay's progress cannot keep the replay from ending."""

from __future__ import annotations

import asyncio

from services.demo.replay import _end


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(_end(task), 5)
    assert task.cancelled()
    assert swallowed == 3


async def test_a_failure_of_the_display_is_no_failure_of_the_replay() -> None:
    async def broken() -> None:
        raise RuntimeError("no terminal")

    task = asyncio.create_task(broken())
    await asyncio.wait({task})
    await asyncio.wait_for(_end(task), 5)
