"""What the engine skips could not have changed: the same streams with every signal judged after every event and at every
midnight give the same transitions, byte for byte."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from schemas.codec import decode_any
from schemas.signals import Transition
from services.common.recording import Line
from services.signals.backtest.run import Backtest
from services.signals.core.transitions import encode
from tests.oracle.generate import Stream, stream

IN_ONE_TEST = 25
SEEDS = [range(first, first + IN_ONE_TEST) for first in range(5000, 5100, IN_ONE_TEST)]


def found(told: Stream, *, naive: bool) -> list[Transition]:
    """What a backtest of the stream says."""
    until = dt.date.fromisoformat(told.until) if told.until else None
    run = Backtest(until=until, run_start_us=told.run_start)
    run.engine.judge_everything = naive
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in told.lines]
    return list(run.run(Line(line, decode_any(line)) for line in raw))


@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_naive_evaluator_says_the_same(seeds: range) -> None:
    told = 0
    for seed in seeds:
        one = stream(seed, in_order=seed % 2 == 0)
        quick, naive = found(one, naive=False), found(one, naive=True)
        assert [encode(t) for t in quick] == [encode(t) for t in naive], f"seed {seed}"
        told += len(quick)
    assert told > IN_ONE_TEST, "the streams say too little to compare"
