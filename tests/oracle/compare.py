"""Engine against oracle on one file: what differs, and the fewest lines that still differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.oracle import engine
from tests.oracle.generate import Stream
from tests.oracle.oracle import Answer, expect


def differences(stream: Stream, answer: Answer | None = None) -> list[str]:
    """What the two say differently about a file, and every law that the engine's transitions break; empty if none.

    `answer` is the oracle's, where it is known already.
    """
    answer = answer or expect(stream.lines, until=stream.until, run_start=stream.run_start)
    expected = answer.changes
    told = engine.transitions(stream.lines, until=stream.until, run_start=stream.run_start)
    found = engine.changes(told)
    wrong = [f"only the oracle: {change}" for change in expected if change not in found]
    wrong += [f"only the engine: {change}" for change in found if change not in expected]
    return wrong + engine.broken_laws(told)


def fewest(stream: Stream, fails: Callable[[Stream], bool]) -> Stream:
    """The stream with as many lines left out as can be while it still fails."""
    lines = list(stream.lines)
    size = max(1, len(lines) // 2)
    while size:
        start = 0
        while start < len(lines):
            fewer = lines[:start] + lines[start + size :]
            if fewer and fails(replace(stream, lines=fewer)):
                lines = fewer
            else:
                start += size
        size //= 2
    return replace(stream, lines=lines)


def report(stream: Stream) -> str:
    """The seed, what differs, and the fewest lines that show it."""
    small = fewest(stream, lambda s: bool(differences(s)))
    lines = [line.decode(errors="replace") if isinstance(line, bytes) else short(line) for line in small.lines]
    head = f"seed {stream.seed}, until {stream.until}, {len(lines)} of {len(stream.lines)} lines:"
    return "\n".join([head, *lines, "differences:", *differences(small)])


def short(event: dict[str, object]) -> str:
    """An event on one line, without what never varies."""
    return " ".join(str(event[name]) for name in ("time", "subject", "type", "source", "id", "data"))
