"""The engine against the oracle on seeded streams of nasty events: transitions, counts, windows, batches and restarts.

`EBBTIDE_TEST_STREAMS` sets how many streams are tried (default 96) and `EBBTIDE_TEST_FIRST_STREAM` the first seed.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from functools import cache, partial
from itertools import count

import pytest

from tests.oracle import engine
from tests.oracle.build import RUN_START, at, date, event, invoice, numbered, payment, use
from tests.oracle.compare import differences, fewest, report
from tests.oracle.generate import START, Stream, Writer, power, seats, stream, usage
from tests.oracle.oracle import Answer, expect
from tests.oracle.records import DAY, us

FIRST = int(os.environ.get("EBBTIDE_TEST_FIRST_STREAM", "0"))
STREAMS = int(os.environ.get("EBBTIDE_TEST_STREAMS", "96"))
IN_ONE_TEST = 8

SEEDS = range(FIRST, FIRST + STREAMS)
GROUPS = [
    range(first, min(first + IN_ONE_TEST, FIRST + STREAMS)) for first in range(FIRST, FIRST + STREAMS, IN_ONE_TEST)
]
POWER_SEEDS = (0, 4)


@cache
def told(seed: int) -> Stream:
    """The stream of a seed. Every other one is in order: what those find is easier to understand."""
    return stream(seed, in_order=seed % 2 == 0)


@cache
def expected(seed: int) -> Answer:
    """The oracle's answer, which takes most of the time."""
    return expect(told(seed).lines, until=told(seed).until, run_start=told(seed).run_start)


@pytest.mark.parametrize("seeds", GROUPS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_transitions(seeds: range) -> None:
    for seed in seeds:
        if differences(told(seed), expected(seed)):
            pytest.fail(report(told(seed)))


def test_power_users() -> None:
    raised = set()
    for seed in POWER_SEEDS:
        told = power(seed)
        answer = expect(told.lines, until=told.until, run_start=told.run_start)
        if differences(told, answer):
            pytest.fail(report(told))
        raised.add(any(c.signal == "advocacy.power_user" for c in answer.changes))
    assert raised == {True, False}, "the seeds are not on both sides of the edge"


def test_a_renewal_that_is_told_late_is_judged_as_a_late_use_is() -> None:
    """Churned in January; what renewed it then comes a month later, when no use was left in the last 28 days."""
    events = [
        use("2024-01-06T09:00:00Z", 17),
        use("2024-01-07T09:00:00Z", 20),
        event("account.churned", "2024-01-13T00:00:00Z", reason="no ROI"),
        event("ticket.opened", "2024-02-08T10:00:00Z", ticket_id="t", priority="P4"),
        event("account.renewed", "2024-01-30T22:33:00Z"),
    ]
    until = "2024-02-10"
    lines = numbered(events)
    found = engine.transitions(lines, until=until, run_start=RUN_START)
    fell = [(t.type, t.time.isoformat(), t.data.severity) for t in found if t.data.signal == "usage.decline"]
    assert fell == [("signal.raised", "2024-02-08T10:00:00+00:00", "critical")]
    assert {str(c) for c in engine.changes(found)} == {
        str(c) for c in expect(lines, until=until, run_start=RUN_START).changes
    }


def sometimes(rng: random.Random, share: float) -> bool:
    return rng.random() < share


@pytest.mark.parametrize("seeds", GROUPS[::4], ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_batches_and_restarts_change_nothing(seeds: range) -> None:
    for seed in seeds:
        file = told(seed)
        rng = random.Random(seed)
        driven = engine.drive(
            file.lines,
            until=file.until,
            run_start=file.run_start,
            batch_ends=partial(sometimes, rng, 0.3),
            restarts=partial(sometimes, rng, 0.3),
        )
        straight = engine.transitions(file.lines, until=file.until, run_start=file.run_start)
        assert {t.id: t for t in driven.transitions} == {t.id: t for t in straight}, f"seed {seed}"


@pytest.mark.parametrize("seeds", GROUPS[1::4], ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_counts_and_windows(seeds: range) -> None:
    for seed in seeds:
        file, answer = told(seed), expected(seed)
        driven = engine.drive(file.lines, until=file.until, run_start=file.run_start)
        assert conservation(driven.counts) == conservation(answer.counts), f"seed {seed}"
        assert driven.counts["records"] == sum(driven.counts[name] for name in ("applied", "duplicate", "dead"))
        assert set(driven.health) == {name for name, account in answer.accounts.items() if account.records}
        for name, health in driven.health.items():
            as_of = engine.microseconds(health.as_of)
            assert engine.windows(health) == answer.windows(name, as_of), f"seed {seed}, {name} as of {health.as_of}"


def conservation(counts: Counter[str]) -> dict[str, int]:
    """What became of the records; the oracle counts the dead by reason."""
    dead = counts["dead"] + sum(number for name, number in counts.items() if name.startswith("dead."))
    return {"dead": dead, **{name: counts[name] for name in ("records", "applied", "duplicate", "dedupe_unchecked")}}


def test_a_restart_after_nothing_but_ticks_remembers_them() -> None:
    """A replay opens with a tick; an engine that fails right after it must still know that it is in a replay."""
    lines = [invoice(at(0), "i", -30)]
    endings = iter([True])
    driven = engine.drive(
        numbered(lines),
        until=date(0),
        run_start=RUN_START,
        batch_ends=lambda: next(endings, False),
        restarts=lambda: True,
    )
    assert [t.data.historical for t in driven.transitions] == [True]


@pytest.mark.parametrize("every", [1, 100])
def test_a_payment_may_come_before_its_invoice_in_any_batch(every: int) -> None:
    """A payment of an invoice that is not known yet is kept for it, in the same effect or across effects."""
    lines = numbered([payment("partly_paid", at(40), "i", "50.00"), invoice(at(5), "i", 6)])
    answer = expect(lines, until=date(40), run_start=RUN_START)
    steps = count(1)
    driven = engine.drive(lines, until=date(40), run_start=RUN_START, batch_ends=lambda: next(steps) % every == 0)
    assert engine.changes(driven.transitions) == answer.changes


@pytest.mark.parametrize("seed", range(6))
def test_shuffled_within_retention_ends_in_the_same_windows(seed: int) -> None:
    rng = random.Random(seed)
    writer = Writer(rng, "acme", 80)
    for family in (usage, usage, seats):
        family(writer)
    events = [e for e in numbered(writer.events) if START <= us(e["time"]) < START + 80 * DAY]
    in_order = sorted(events, key=lambda e: us(e["time"]))
    shuffled = rng.sample(in_order, len(in_order))
    ends = []
    for lines in (in_order, shuffled):
        (health,) = engine.drive(lines, until="2024-03-25", run_start=RUN_START).health.values()
        ends.append((engine.windows(health), health.profile))
    assert ends[0] == ends[1]


def test_streams_meet_every_signal_and_every_way_to_clear() -> None:
    """The streams are worth something only if they make each signal raise and clear; late and churned included."""
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        for change in expected(seed).changes:
            seen[f"{change.signal} {change.type}"] += 1
            seen[change.because or ""] += 1
    signals = {
        "adoption.shelfware",
        "adoption.user_stuck",
        "billing.overdue",
        "critical.support_and_billing",
        "expansion.seats",
        "relationship.sponsor_lost",
        "renewal.unsecured",
        "support.aged_critical",
        "support.burst",
        "survey.detractor",
        "usage.core_erosion",
        "usage.decline",
        "usage.silence",
    }
    wanted = {f"{signal} {kind}" for signal in signals for kind in ("raised", "cleared")}
    wanted |= {"usage.decline escalated", "billing.overdue escalated", "renewal.unsecured escalated"}
    wanted |= {"recovered", "late_event", "churned", "expired", "new_normal", "no_seats", "below_threshold"}
    assert wanted <= set(seen), sorted(wanted - set(seen))


def test_the_fewest_lines_are_found() -> None:
    """The report's minimiser, on a stream that fails where two of its lines meet."""
    lines = numbered([{"time": str(n)} for n in range(20)])
    whole = Stream(0, list(lines), None, 0)

    def fails(s: Stream) -> bool:
        return lines[3] in s.lines and lines[17] in s.lines

    assert fewest(whole, fails).lines == [lines[3], lines[17]]
