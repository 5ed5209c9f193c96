"""What one event costs in the core: `python -m tests.bench core`. CPU µs per event, and ratios to decoding alone.

The workload is the demo's portfolio in time order with a tick each midnight: 150 accounts, 240 days. The steps add up:
decoding, then applying and judging with all signals on, then effects of 4,000 records each with state and health encoded.
"""

from __future__ import annotations

import datetime as dt
import time

from schemas.codec import Refusal, decode_any
from schemas.envelope import Event
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from services.common.recording import FUTURE_US, Line, Midnight, Step, steps
from services.demo.portfolio import simulate
from services.signals.backtest.broadcasts import with_broadcasts
from services.signals.backtest.run import MemoryStore
from services.signals.catalogue import load
from services.signals.core.partition import PartitionEngine

ACCOUNTS, DAYS, SEED, BATCH = 150, 240, 5, 4000
END = dt.date(2026, 10, 1)
RUN_START = int(dt.datetime(2026, 11, 1, tzinfo=dt.UTC).timestamp() * 1e6)


def run(order: list[Step], *, effects: bool) -> tuple[float, int, int]:
    """CPU seconds, state records and state bytes of one run."""
    store = MemoryStore()
    engine = PartitionEngine(0, INPUT_TOPICS, load(), store, partitions=1, with_health=effects)
    engine.keep_transitions = not effects
    records = size = 0
    since = time.process_time()
    for number, (sequence, what) in enumerate(order):
        if isinstance(what, Midnight):
            for topic in range(len(INPUT_TOPICS)):
                engine.tick(topic, what.now_us, True)
            while engine.work(1000):
                pass
        elif not isinstance(what.event, Refusal):
            event: Event = what.event
            topic = INPUT_TOPICS.index(EVENT_TYPES[event.type].topic)
            key = None if event.subject is None else event.subject.encode()
            engine.apply(topic, sequence, key, what.raw, event, RUN_START + FUTURE_US)
        if effects and not number % BATCH:
            written = engine.take(1, 0.0).state
            records += len(written)
            size += sum(len(value or b"") for _, value in written)
            store.update((key, value) for key, value in written if value is not None)
    return time.process_time() - since, records, size


def main() -> None:
    """Print the table."""
    lines = [line for _, line in simulate(ACCOUNTS, DAYS, SEED, END).events]
    since = time.process_time()
    decoded = [Line(raw, decode_any(raw)) for raw in lines]
    base = (time.process_time() - since) / len(lines) * 1e6
    order = list(with_broadcasts(steps(decoded, run_start_us=RUN_START), run_start_us=RUN_START))
    print(f"{len(lines)} events of {ACCOUNTS} accounts over {DAYS} days")
    print(f"{'step':34}{'µs an event':>12}{'ratio':>8}")
    print(f"{'decode alone':34}{base:12.2f}{1.0:8.2f}")
    plain, _, _ = run(order, effects=False)
    applied = plain / len(lines) * 1e6
    print(f"{'apply and judge, all signals':34}{applied:12.2f}{applied / base:8.2f}")
    full, records, size = run(order, effects=True)
    whole = full / len(lines) * 1e6
    print(f"{'the same with effects and health':34}{whole:12.2f}{whole / base:8.2f}")
    print(f"state written: {records / len(lines):.2f} records and {size / len(lines):.0f} bytes an event")


if __name__ == "__main__":
    main()
