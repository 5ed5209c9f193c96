"""Windows against counting by hand, with every way in which they are stored and put together again."""

from __future__ import annotations

import random

import pytest

from services.signals.core import codec
from services.signals.core.activity import Activity
from services.signals.core.days import DAY_US, week_of
from services.signals.core.state import Account, fresh_account
from services.signals.core.windows import CORE, DAYS, USAGE, WEEKS

FIRST = 20_000


def stored(account: Account, store: dict[bytes, bytes]) -> Account:
    """The account written and read again, its buckets only when they are due."""
    if account.windows.stale:
        store[b"hacme"] = codec.encode_history(account, 1, 1)
        account.windows.stale = False
        account.windows.changed = {}
    store[b"aacme"] = codec.encode_account(account, 1, 1)
    return codec.decode_account(b"aacme", store[b"aacme"], store.get, [], 5)


@pytest.mark.parametrize("seed", range(20))
def test_sums_are_those_of_the_counts(seed: int) -> None:
    rng = random.Random(seed)
    account = fresh_account(b"acme", FIRST * DAY_US, 5)
    store: dict[bytes, bytes] = {}
    counts: list[tuple[int, int, int]] = []
    today = FIRST
    for _ in range(300):
        if rng.random() < 0.4:
            today += rng.choice((1, 1, 1, 2, 5, 30, 100 if seed % 3 == 0 else 7))
            account.windows.advance(today)
            account.hot.windows_today = today
        day = today - (rng.choice((0, 0, 0, 1, 3, 40, 91, 92, 200)) if rng.random() < 0.5 else 0)
        if week_of(today) - week_of(day) < WEEKS:
            measure, amount = rng.choice((USAGE, CORE)), rng.randrange(1, 9)
            late = today - day
            account.windows.add(measure, day, amount)
            counts.append((measure, day if late < DAYS else -day, amount))
        if rng.random() < 0.2:
            account = stored(account, store)
        windows = account.windows
        for measure in (USAGE, CORE):

            def total(newest: int, oldest: int, measure: int = measure, today: int = today) -> int:
                return sum(n for m, d, n in counts if m == measure and d >= 0 and newest <= today - d <= oldest)

            assert windows.last_7(measure) == total(0, 6)
            assert windows.last_28(measure) == total(0, 27)
            assert windows.previous_28(measure) == total(28, 55)
            assert windows.by_age(measure, DAYS) == [total(age, age) for age in range(DAYS)]
            assert windows.complete_28(measure) == total(1, 28)
            assert windows.complete_previous_28(measure) == total(29, 56)
            assert windows.by_age(measure, 57) == [total(age, age) for age in range(57)]
            weeks = [
                sum(n for m, d, n in counts if m == measure and week_of(today) - week_of(abs(d)) == age)
                for age in range(WEEKS)
            ]
            assert windows.weeks_by_age(measure) == weeks
            assert windows.complete_weeks(measure, 1, 4) == sum(weeks[1:5])


def test_few_days_wait_in_the_accounts_own_record() -> None:
    account = fresh_account(b"acme", FIRST * DAY_US, 5)
    for day in range(FIRST, FIRST + 9):
        account.windows.advance(day)
        account.windows.add(USAGE, day, 1)
        assert not account.windows.stale
    account.windows.advance(FIRST + 9)
    assert account.windows.stale, "nine days have changed since the buckets were written"


@pytest.mark.parametrize("seed", range(10))
def test_active_users_are_those_of_the_last_28_days(seed: int) -> None:
    rng = random.Random(seed)
    activity, last, today = Activity(today=FIRST), dict[int, int](), FIRST
    for _ in range(400):
        if rng.random() < 0.2:
            today += rng.choice((1, 1, 2, 10, 27, 28, 29, 95))
            activity.advance(today)
        user, day = rng.randrange(30), today - rng.choice((0, 0, 1, 20, 60, 91, 95))
        if day > last.get(user, -1):
            before = activity.in_28
            changed = activity.move(last.get(user, -1), day)
            last[user] = day
            assert changed == (activity.in_28 != before)
        assert activity.in_28 == sum(today - d < 28 for d in last.values())
        assert [activity.in_28_ahead(n) for n in (0, 5, 27, 28)] == [
            sum(today + n - d < 28 for d in last.values()) for n in (0, 5, 27, 28)
        ]
        left = sorted(28 - (today - d) for d in last.values() if today - d < 28)
        assert activity.next_change() == (left[0] if left else 0)
