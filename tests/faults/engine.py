"""The engine as a process whose faults are told by the environment: `python -m tests.faults.engine`.

It is the product's `ebbtide serve engine` with these put around it, none of them in the product:

* `FAILPOINT_OF_TEST=place:n:action` at more places than the product's own effects: `EXTRA_PLACES`;
* `CRASH_OF_TEST=crash-`: the core raises on every event whose id begins so;
* `CLOCK_OF_TEST=5:86400,9:-86400`: 5 s after the ticker began to watch it the machine's wall clock jumps forward by a day,
  after 9 s back. (A clock that is wrong from the start jumps for nobody; then every record is late, late ones of different
  topics come as they arrive, and the log cannot tell the checker in which order that was.)
* `LOSE_OF_TEST=3`: the third fetch of input records is lost on its way to the engine;
* `WITHOUT_OF_TEST=name`: one of the guards is taken out (`guards.py`).
"""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":
    # As `ebbtide serve` does: told to stop while the code is loaded, there is nothing to take down yet.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

import functools
import math
import time
from collections.abc import Callable
from typing import Any, Final

from tests.faults import guards

EXTRA_PLACES: Final = ("fetched", "recovering", "opening", "opened", "revoked", "before-commit", "after-commit")
"""More places to fail at: records were fetched; a list of changelog records is applied; partitions are opened, before
and after; partitions are taken away; positions are committed, before and after."""


def shift_clock(plan: str) -> None:
    """Make this process's wall clock jump: pairs of seconds from when the ticker begins to watch it and seconds to jump by."""
    jumps = [tuple(map(float, pair.split(":"))) for pair in plan.split(",")]
    wall, wall_ns, monotonic = time.time, time.time_ns, time.monotonic
    started = math.inf

    def shift() -> float:
        passed = monotonic() - started
        return sum(by for at, by in jumps if passed >= at)

    time.time = lambda: wall() + shift()
    time.time_ns = lambda: wall_ns() + round(shift() * 1e9)
    from services.signals.runtime import ticker  # the clock that it takes is the one above

    def begin() -> None:
        nonlocal started
        started = min(started, monotonic())

    around(ticker.ClockGuard, "__init__", begin)


def around(owner: Any, name: str, before: Callable[[], None], after: Callable[[], None] | None = None) -> None:
    """Call `before` and `after` around a method, asynchronous or not."""
    stock = getattr(owner, name)

    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        before()
        result = await stock(*args, **kwargs)
        if after is not None:
            after()
        return result

    def plain(*args: Any, **kwargs: Any) -> Any:
        before()
        result = stock(*args, **kwargs)
        if after is not None:
            after()
        return result

    wrapped = asynchronous if stock.__code__.co_flags & 0x80 else plain
    setattr(owner, name, functools.wraps(stock)(wrapped))


def more_places() -> None:
    """Let failpoints act at `EXTRA_PLACES` too."""
    from faust.transport import consumer

    from services.signals.runtime import failpoints, source, table, worker

    failpoints.PLACES = (*failpoints.PLACES, *EXTRA_PLACES)  # type: ignore[misc]
    points = failpoints.Failpoints.from_environment()
    failpoints.Failpoints.from_environment = staticmethod(lambda: points)  # type: ignore[method-assign,assignment]

    def at(place: str) -> Callable[[], None]:
        return functools.partial(points.reach, place)

    around(source.InputConsumer, "_accept", at("fetched"))
    around(table.StateTable, "apply_records", at("recovering"))
    around(worker.Worker, "open_partitions", at("opening"), at("opened"))
    around(consumer.Consumer, "on_partitions_revoked", at("revoked"))
    around(consumer.Consumer, "_commit_offsets", at("before-commit"), at("after-commit"))


def crash_on(prefix: str) -> None:
    """Make the core raise on events whose id begins so."""
    from services.signals.core.partition import PartitionEngine

    stock = PartitionEngine.apply

    def apply(self: Any, topic: int, offset: int, key: Any, value: Any, event: Any, *rest: Any) -> None:
        if str(getattr(event, "id", "")).startswith(prefix) and offset > self.applied[topic]:
            raise ValueError(f"a record that nobody thought of: {event.id}")
        stock(self, topic, offset, key, value, event, *rest)

    PartitionEngine.apply = apply  # type: ignore[method-assign]


def lose_fetch(number: int) -> None:
    """Lose what one fetch brought, as Faust's stock pause does: the position has moved on, the records are gone."""
    from services.signals.runtime.source import InputConsumer

    stock = InputConsumer._accept
    left = number

    def accept(self: Any, tp: Any, records: list[Any]) -> None:
        nonlocal left
        left -= 1
        if left:
            stock(self, tp, records)

    InputConsumer._accept = accept  # type: ignore[method-assign]


def main() -> None:
    """Run one worker with the faults that the environment names."""
    asked = os.environ.get
    if plan := asked("CLOCK_OF_TEST"):
        shift_clock(plan)
    if guard := asked("WITHOUT_OF_TEST"):
        guards.remove(guard)
    more_places()
    if prefix := asked("CRASH_OF_TEST"):
        crash_on(prefix)
    if number := asked("LOSE_OF_TEST"):
        lose_fetch(int(number))
    from services.signals import catalogue
    from services.signals.runtime.main import run
    from tests.oracle.engine import counted

    catalogue.load = lambda _=None: counted()  # the checker counts these signals and no others
    run()


if __name__ == "__main__":
    main()
