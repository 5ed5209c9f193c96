"""What decoding an event costs: `python -m tests.bench.bench_codec`. Prints the least µs of several rounds, and ratios.

The yardstick is msgspec's decode of the same bytes to plain dicts, which checks nothing.
"""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable

import msgspec

from schemas.codec import decode, encode
from schemas.envelope import Event
from schemas.events import EVENT_TYPES
from schemas.generate import EXAMPLES

ROUNDS, CALLS = 9, 20_000
SHOWN = ("usage.feature_used", "ticket.opened", "invoice.issued", "account.updated", "survey.answered")


def least_us(work: Callable[[], object]) -> float:
    """Microseconds of one call in the quickest of the rounds."""
    return min(timeit.repeat(work, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def main() -> None:
    """Measure each of the shown types, from its full example."""
    plain = msgspec.json.Decoder()
    print(f"{'type':22}{'bytes':>7}{'plain µs':>10}{'decode µs':>11}{'ratio':>7}{'time_us µs':>12}{'encode µs':>11}")
    for name in SHOWN:
        topic = EVENT_TYPES[name].topic
        example = json.loads((EXAMPLES / name / "full.json").read_text("utf-8"))
        value, key = msgspec.json.encode(example | {"subject": "acct-004711"}), b"acct-004711"
        event = decode(topic, key, value)
        assert isinstance(event, Event), event
        base = least_us(lambda value=value: plain.decode(value))  # type: ignore[misc]
        typed = least_us(lambda topic=topic, key=key, value=value: decode(topic, key, value))  # type: ignore[misc]
        instant = least_us(lambda event=event: event.time_us)  # type: ignore[misc]
        wrote = least_us(lambda event=event: encode(event))  # type: ignore[misc]
        print(f"{name:22}{len(value):7}{base:10.2f}{typed:11.2f}{typed / base:7.2f}{instant:12.2f}{wrote:11.2f}")


if __name__ == "__main__":
    main()
