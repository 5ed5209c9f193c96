"""States of a given size: accounts, and users of accounts, each told by as few events as make them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from tests.bench.workload import FIRST_DAY, Record, name_of


def accounts(count: int) -> Iterator[Record]:
    """`count` accounts without users: a profile and five uses of a feature on different days, newest account last."""
    yield from _profiles(count)
    for day in range(5):
        for number in range(count):
            at = FIRST_DAY + dt.timedelta(days=day, seconds=number * 80_000 / count)
            yield _event(f"day-{day}-{number}", number, at, "usage.feature_used", '{"feature":"board","core":true}')


def users(accounts_: int, each: int) -> Iterator[Record]:
    """`accounts_` accounts of `each` users, every one of whom logged in and viewed a page."""
    yield from _profiles(accounts_)
    total = accounts_ * each
    for kind, day in (("usage.logged_in", 0), ("usage.page_viewed", 1)):
        for index in range(total):
            at = FIRST_DAY + dt.timedelta(days=day, seconds=index * 80_000 / total)
            number, user = index % accounts_, index // accounts_
            data = f'{{"user":"user-{user:05}@example.com"}}'
            yield _event(f"{kind}-{index}", number, at, kind, data)


def _profiles(count: int) -> Iterator[Record]:
    for number in range(count):
        at = FIRST_DAY - dt.timedelta(hours=1)
        data = (
            f'{{"name":"Customer {number}","tier":"{("high", "low", "tech")[number % 3]}","seats":25,"mrr":"950.00",'
            f'"currency":"EUR","pricing":"per_seat","contract_start":"2024-06-01","renewal_date":"2025-11-30",'
            f'"csm":"csm-{number % 40}"}}'
        )
        yield _event(f"profile-{number}", number, at, "account.updated", data)


def _event(name: str, number: int, at: dt.datetime, kind: str, data: str) -> Record:
    account = name_of(number)
    topic = "accounts" if kind.startswith("account.") else "usage"
    value = (
        f'{{"specversion":"1.0","id":"{name}","source":"bench","type":"{kind}","subject":"{account}",'
        f'"time":"{at.isoformat()}","data":{data}}}'
    )
    return Record(topic, account.encode(), value.encode())
