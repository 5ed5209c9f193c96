"""A released feature is said once for every account: each hears it, however long nothing else is heard of it, whatever the
batches and wherever the process dies."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

import msgspec
import pytest

from schemas.codec import decode_any
from schemas.events import INPUT_TOPICS
from services.common.recording import FUTURE_US
from services.signals.backtest.run import MemoryStore
from services.signals.catalogue import load
from services.signals.core.codec import PartitionState
from services.signals.core.partition import BROADCASTS_KEPT, PartitionEngine
from services.signals.core.world import MAX_RELEASES
from tests.property.test_partition_restarts import RUN_START, Shell, records

SIGNAL = "adoption.release_ignored"
IDLE = [f"idle-{n}" for n in range(9)]
ALL_DUE = 1 << 30
Said = set[tuple[str, str, str, str]]


def line(account: str | None, at: str, kind: str, **data: Any) -> bytes:
    event = {
        "specversion": "1.0",
        "id": f"{account} {kind} {at}",
        "source": "t",
        "type": kind,
        "time": at,
        "data": data,
    }
    return json.dumps(event | ({} if account is None else {"subject": account})).encode()


def used(account: str, at: str, feature: str = "report") -> bytes:
    return line(account, at, "usage.feature_used", feature=feature)


def released(at: str, feature: str = "forecast") -> bytes:
    return line(None, at, "feature.released", feature=feature)


def us(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000


RECORDING = [
    *(used(account, "2026-01-05T09:00:00Z") for account in (*IDLE, "tries", "too-late", "leaves", "erased", "busy")),
    released("2026-02-01T12:00:00Z"),
    used("newcomer", "2026-02-01T12:00:01Z"),
    used("busy", "2026-02-03T09:00:00Z", "forecast"),
    used("tries", "2026-04-02T11:59:59Z", "forecast"),
    line("leaves", "2026-03-01T09:00:00Z", "account.churned", reason="no ROI"),
    line("erased", "2026-03-01T09:00:00Z", "account.erased"),
    released("2026-03-05T08:00:00Z", "export"),
    used("busy", "2026-03-06T08:00:00Z", "export"),
    used("too-late", "2026-03-07T08:00:00Z", "export"),
    used("too-late", "2026-04-05T10:00:00Z", "forecast"),
    used("busy", "2026-05-20T10:00:00Z"),
]
RECORDING.sort(key=lambda raw: json.loads(raw)["time"])
FORECAST, EXPORT = "2026-04-02T12:00:00Z", "2026-05-04T08:00:00Z"  # 60 × 24 h after each release
EXPECTED: Said = {
    *((account, FORECAST, "signal.raised", "forecast") for account in (*IDLE, "too-late")),
    *((account, EXPORT, "signal.raised", "export") for account in (*IDLE, "tries", "newcomer")),
    ("too-late", "2026-04-05T10:00:00Z", "signal.cleared", "forecast"),
}


def said(values: list[bytes]) -> Said:
    """(account, time, what, feature) of each transition of the signal."""
    changes = [msgspec.json.decode(value) for value in values]
    return {
        (change["subject"], change["time"], change["type"], change["data"]["about"])
        for change in changes
        if change["data"]["signal"] == SIGNAL
    }


@pytest.mark.parametrize(("seed", "deaths"), [(1, 0.0), (2, 0.0), (3, 0.3), (4, 0.3), (5, 0.5)])
def test_every_account_hears_it_whatever_happens(seed: int, deaths: float) -> None:
    shell = Shell(list(records(RECORDING)), random.Random(seed), deaths)
    engine = shell.run()
    assert said([*shell.sent.values()]) == EXPECTED
    assert engine.state.broadcasts == 2
    assert engine.state.hearing == -1
    assert shell.died > 0 or not deaths


class Run:
    """An engine that is driven by hand, on a store that outlives it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.sent: list[bytes] = []
        self.offset = 0
        self.engine = PartitionEngine(0, INPUT_TOPICS, load(), self.store, partitions=1)

    def take(self) -> None:
        effects = self.engine.take(1, 0.0)
        self.store.update((key, value) for key, value in effects.state if value is not None)
        self.sent += [value for _, _, value, _ in effects.signals]

    def restart(self) -> None:
        self.engine = PartitionEngine(0, INPUT_TOPICS, load(), self.store, partitions=1)
        self.engine.restore()

    def apply(self, *lines: bytes) -> None:
        for raw in lines:
            event = decode_any(raw)
            account = json.loads(raw).get("subject")
            topic = INPUT_TOPICS.index("accounts" if account is None else "usage")
            key = None if account is None else account.encode()
            self.engine.apply(topic, self.offset, key, raw, event, RUN_START + FUTURE_US)
            self.offset += 1

    def tick(self, at: str) -> None:
        for topic in range(len(INPUT_TOPICS)):
            self.engine.tick(topic, us(at), True)

    @property
    def state(self) -> PartitionState:
        return self.engine.state


def test_a_restart_while_only_some_have_heard_it() -> None:
    run = Run()
    run.apply(*(used(account, "2026-01-05T09:00:00Z") for account in IDLE))
    run.tick("2026-02-01T00:00:00Z")
    run.engine.work(ALL_DUE)
    run.apply(released("2026-02-01T12:00:00Z"))
    run.tick("2026-02-02T00:00:00Z")
    run.engine.work(3)
    run.take()
    assert run.state.hearing == us("2026-02-01T12:00:00Z")
    run.restart()
    assert run.state.world.releases[0].feature == "forecast"
    run.engine.work(2)
    run.take()
    run.restart()
    run.tick("2026-04-02T12:00:00Z")
    while run.engine.work(1):
        run.take()
    run.take()
    assert run.state.hearing == -1
    assert said(run.sent) == {(account, FORECAST, "signal.raised", "forecast") for account in IDLE}


def test_told_late_it_is_judged_at_the_partitions_clock() -> None:
    run = Run()
    run.apply(*(used(account, "2026-01-05T09:00:00Z") for account in IDLE))
    run.tick("2026-04-20T00:00:00Z")
    run.engine.work(ALL_DUE)
    run.apply(released("2026-02-01T12:00:00Z"))
    run.engine.work(ALL_DUE)
    run.take()
    assert said(run.sent) == {(account, "2026-04-20T00:00:00Z", "signal.raised", "forecast") for account in IDLE}


def test_a_release_is_said_once_and_its_earliest_time_counts() -> None:
    run = Run()
    run.apply(used("acme", "2026-01-05T09:00:00Z"), released("2026-02-11T12:00:00Z"), released("2026-02-13T12:00:00Z"))
    assert run.state.broadcasts == 1
    run.apply(released("2026-02-01T12:00:00Z"))
    assert run.state.broadcasts == 2
    run.tick("2026-06-01T00:00:00Z")
    run.engine.work(ALL_DUE)
    run.take()
    assert said(run.sent) == {("acme", FORECAST, "signal.raised", "forecast")}


def test_an_account_that_slept_through_many_hears_of_those_that_are_kept() -> None:
    run = Run()
    run.apply(used("acme", "2026-01-05T09:00:00Z"))
    count = BROADCASTS_KEPT + 6
    for n in range(count):
        run.apply(released(f"2026-02-01T12:{n // 60:02d}:{n % 60:02d}Z", f"f{n:02d}"))
    assert len(run.state.pending) == BROADCASTS_KEPT
    run.take()
    run.restart()
    run.tick("2026-04-03T00:00:00Z")
    run.engine.work(ALL_DUE)
    run.take()
    kept = range(count - MAX_RELEASES, count)
    assert {about for _, _, _, about in said(run.sent)} == {f"f{n:02d}" for n in kept}


def test_what_is_said_ages_nobody_beyond_its_own_time() -> None:
    run = Run()
    run.apply(used("acme", "2026-01-05T09:00:00Z"), released("2026-02-01T12:00:00Z"))
    run.tick("2026-02-01T00:00:00Z")
    run.engine.work(ALL_DUE)
    run.apply(used("acme", "2026-02-01T12:00:01Z"))
    assert run.engine._account(b"acme").hot.clock == us("2026-02-01T12:00:01Z")
