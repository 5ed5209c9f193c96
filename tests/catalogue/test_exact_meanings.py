"""Every hand-written case of the exact meanings, judged by the oracle and by the engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.catalogue.exact_meanings import Case, adoption, billing, relationship, renewal, rules, support, usage
from tests.oracle import engine, oracle
from tests.oracle.build import ACCOUNT, RUN_START, Events, date, numbered, told
from tests.oracle.oracle import Change

FAMILIES = (usage, adoption, support, billing, relationship, renewal, rules)
CASES = [case for family in FAMILIES for case in family.CASES]

Judge = Callable[[Events, str], list[Change]]


def by_oracle(events: Events, until: str) -> list[Change]:
    return oracle.expect(events, until=until, run_start=RUN_START).changes


def by_engine(events: Events, until: str) -> list[Change]:
    found = engine.transitions(events, until=until, run_start=RUN_START)
    assert engine.broken_laws(found) == []
    return engine.changes(found)


@pytest.mark.parametrize("judge", [by_oracle, by_engine])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, judge: Judge) -> None:
    changes = judge(numbered(case.events), date(case.until))
    for signal, expected in case.expected.items():
        assert [told(c) for c in changes if c.signal == signal and c.account == ACCOUNT] == expected, signal


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
