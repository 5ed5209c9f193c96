"""The renewal date is what was said of it in the order of the events' times, whatever order they came in."""

from __future__ import annotations

from itertools import permutations

from services.signals.core.contract import MAX_DATES, Profile

SAID = [
    (10, "contract_end", "2026-05-31"),
    (20, None, 12),
    (30, "renewal_date", "2026-08-31"),
    (40, None, 6),
]


def told(order: list[tuple[int, str | None, object]]) -> Profile:
    profile = Profile()
    for at, name, value in order:
        if name is None:
            assert isinstance(value, int)
            profile.renew(value, None, at)
        else:
            profile.put(name, value, at)
    return profile


def test_any_order_of_arrival() -> None:
    for order in permutations(SAID):
        assert told(list(order)).fields == {"contract_end": "2026-05-31", "renewal_date": "2027-02-28"}, order


def test_a_date_stated_late_is_moved_by_the_renewals_after_it() -> None:
    assert told([(20, None, 12), (10, "renewal_date", "2026-05-31")]).fields["renewal_date"] == "2027-05-31"


def test_null_clears_and_a_term_without_a_date_moves_nothing() -> None:
    assert told([(10, "renewal_date", "2026-05-31"), (20, "renewal_date", None), (30, None, 12)]).fields == {}


def test_years_of_renewals_fold_into_what_they_came_to() -> None:
    profile = told([(0, "renewal_date", "2000-02-29"), *((n, None, 12) for n in range(1, 61))])
    assert profile.fields["renewal_date"] == "2060-02-28"
    assert len(profile.dates) <= MAX_DATES
