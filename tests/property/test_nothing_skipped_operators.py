"""Signals of random operators' files: what the engine skips could not have changed them, by judging everything as well."""

from __future__ import annotations

import datetime as dt
import json
import random

import pytest

from schemas.codec import decode_any
from services.common.recording import Line
from services.signals.backtest.run import Backtest
from services.signals.catalogue import load
from services.signals.core.signal import Catalogue
from services.signals.core.transitions import encode
from services.signals.operators.file import understand
from tests.operators_files import random_file
from tests.oracle.generate import Stream, stream

IN_ONE_TEST = 25
SEEDS = [range(first, first + IN_ONE_TEST) for first in range(7000, 7100, IN_ONE_TEST)]
BUILT_IN = load()


def catalogue(seed: int) -> Catalogue:
    """Own signals alone: they are what is held against the slow form here."""
    whole = understand(random_file(random.Random(seed)), BUILT_IN.by_id).over(BUILT_IN)
    own = [signal for signal in whole.signals if signal.id.startswith("own.")]
    return Catalogue(own, whole.digest, measures=whole.measures)


def found(told: Stream, by: Catalogue, *, naive: bool) -> list[bytes]:
    """What a backtest of the stream says."""
    until = dt.date.fromisoformat(told.until) if told.until else None
    run = Backtest(by, until=until, run_start_us=told.run_start)
    run.engine.judge_everything = naive
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in told.lines]
    return [encode(change) for change in run.run(Line(line, decode_any(line)) for line in raw)]


@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_naive_evaluator_says_the_same(seeds: range) -> None:
    told = 0
    for seed in seeds:
        one, by = stream(seed, in_order=seed % 2 == 0), catalogue(seed)
        quick = found(one, by, naive=False)
        assert quick == found(one, by, naive=True), f"seed {seed}"
        told += len(quick)
    assert told > IN_ONE_TEST, "the streams say too little to compare"
