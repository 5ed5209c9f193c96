"""Days of use as bits, waiting and stored, say what a plain list of uses says; caps and crowds do what they are for."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator

import pytest

from schemas.events.usage import FeatureUsed
from services.signals.core import codec
from services.signals.core.apply.breadth import note_feature, note_team, note_use
from services.signals.core.breadth import (
    LAST_BIT,
    MAX_FEATURES,
    MAX_OUTAGES,
    MAX_TEAMS,
    MAX_USERS,
    TEAMS_INLINE,
    WAITING_FEATURES,
    Breadth,
    age_of_last,
    core_users,
    days_within,
    features_used,
    teams_known,
    weeks_used,
)
from services.signals.core.days import DAY_US, HOUR_US
from services.signals.core.releases import untried
from services.signals.core.signal import Fact
from services.signals.core.state import Account, fresh_account
from services.signals.core.world import World

DAY = 20_000  # Friday, 2024-10-04


def account(day: int = DAY) -> Account:
    return fresh_account(b"acme", day * DAY_US, 1)


def use(who: Account, feature: str, day: int, **more: object) -> int:
    """A use as the hot path takes it in; the clock never goes back."""
    who.hot.clock = max(who.hot.clock, day * DAY_US)
    data = FeatureUsed(feature=feature, **more)  # type: ignore[arg-type]
    if data.core or data.advanced:
        return note_use(who, data, day)
    return 0 if feature in who.hot.noted.features else note_feature(who, data)


def stored(who: Account) -> Account:
    """The account as it is read from its bytes."""
    dossier = codec.decode_dossier(b"o", codec.encode_dossier(who.dossier, 1, 1))
    hot = codec.encode_account(who, 1, 1)
    return codec.decode_account(b"aacme", hot, {}.get, [], 1, lambda _: dossier)


def days_of(bits: int, today: int) -> set[int]:
    return {today - LAST_BIT + n for n in range(LAST_BIT + 1) if bits >> n & 1}


@pytest.mark.parametrize("seed", range(12))
def test_what_waits_and_what_is_stored_say_together_what_a_list_would(seed: int) -> None:
    rng = random.Random(seed)
    who, today = account(), DAY
    core: defaultdict[str, set[int]] = defaultdict(set)
    advanced: defaultdict[str, set[int]] = defaultdict(set)
    users: defaultdict[str, set[int]] = defaultdict(set)
    for _ in range(rng.choice([20, 300])):
        today += rng.choice([0, 0, 0, 1, 1, 3, 30 if rng.random() < 0.1 else 0])
        day = today - rng.choice([0, 0, 0, 1, 6, 8, 20, 63, 64, 100])
        name, user = f"f{rng.randrange(rng.choice([3, 50]))}", f"u{rng.randrange(15)}"
        is_core, is_advanced = rng.random() < 0.6, rng.random() < 0.4
        who.hot.clock = today * DAY_US
        use(who, name, day, core=is_core, advanced=is_advanced, user=user)
        if is_core or is_advanced:
            core[name].add(day)
        if is_advanced:
            advanced[name].add(day)
        if is_core:
            users[user].add(day)
        if rng.random() < 0.05:
            who = stored(who)
    window = range(today - LAST_BIT, today + 1)
    noted, breadth = who.hot.noted, who.dossier.breadth

    def told(found: dict[str, int]) -> dict[str, set[int]]:
        return {name: days_of(bits, today) for name, bits in found.items() if bits}

    def inside(days: dict[str, set[int]]) -> dict[str, set[int]]:
        return {name: kept for name, found in days.items() if (kept := {day for day in found if day in window})}

    assert told(features_used(noted, breadth, today)) == inside(core)
    assert told(features_used(noted, breadth, today, advanced=True)) == inside(advanced)
    assert told(core_users(noted, breadth, today)) == inside(users)


def test_windows_of_days() -> None:
    bits = 1 << LAST_BIT | 1 << (LAST_BIT - 28) | 1 << (LAST_BIT - 56)
    assert days_within(bits, 1, 27) == 0
    assert days_within(bits, 1, 28).bit_count() == 1
    assert days_within(bits, 29, 55) == 0
    assert days_within(bits, 29, 56).bit_count() == 1
    assert days_within(bits, -3, 0).bit_count() == 1
    assert days_within(bits, -3, -1) == 0
    assert (age_of_last(bits), age_of_last(bits >> 5), age_of_last(0)) == (0, 5, 64)


def test_weeks_of_use() -> None:
    sunday_before = 1 << (LAST_BIT - 5)  # the running week began on Monday, four days before
    assert weeks_used(1 << (LAST_BIT - 4), DAY, 1) == 1
    assert weeks_used(sunday_before, DAY, 1) == 0
    assert weeks_used(sunday_before | 1 << LAST_BIT, DAY, 2) == 2
    assert weeks_used(1 << (LAST_BIT - 11), DAY, 2) == 1
    assert weeks_used(1 << (LAST_BIT - 12), DAY, 2) == 0


def names(count: int) -> Iterator[str]:
    return (f"n{number:04d}" for number in range(count))


def test_more_features_than_are_kept_forget_the_one_unused_for_longest() -> None:
    who = account()
    for place, name in enumerate(names(MAX_FEATURES + 2 * WAITING_FEATURES)):
        use(who, name, DAY + place // 100, core=True)
    breadth = who.dossier.breadth
    assert len(breadth.features) <= MAX_FEATURES
    assert "n0000" not in breadth.features
    assert who.hot.over_cap > 0
    assert len(who.hot.noted.features) <= WAITING_FEATURES


def test_a_crowd_has_no_core_users_until_nine_weeks_have_passed() -> None:
    who = account()
    for user in names(MAX_USERS + 20):
        use(who, "a", DAY, core=True, user=user)
    assert core_users(who.hot.noted, who.dossier.breadth, DAY) == {}
    since = who.hot.noted.users_since
    assert since == DAY + 64
    assert use(who, "a", since - 1, core=True, user="ana") == Fact.BREADTH
    assert core_users(who.hot.noted, who.dossier.breadth, since - 1) == {}
    use(who, "a", since, core=True, user="ana")
    assert [*core_users(who.hot.noted, who.dossier.breadth, since)] == ["ana"]


def test_teams_are_known_for_ever_and_bounded() -> None:
    who = account()
    for place, team in enumerate(names(TEAMS_INLINE + MAX_TEAMS + 5)):
        day = DAY + place
        who.hot.clock = day * DAY_US
        found = note_team(who, team, day)
        assert bool(found & Fact.TEAM) == (place < TEAMS_INLINE + MAX_TEAMS)
    assert len(who.hot.noted.teams) == TEAMS_INLINE
    assert len(teams_known(who.hot.noted, who.dossier.breadth)) == TEAMS_INLINE + MAX_TEAMS
    assert who.hot.over_cap == 5
    again = stored(who)
    assert note_team(again, "n0000", DAY + 300) == Fact.TEAM | Fact.BREADTH  # known, and not used for four weeks
    assert again.hot.noted.teams["n0000"] == (DAY, DAY + 300)
    assert note_team(again, "n0000", DAY + 301) == Fact.BREADTH


def test_outages_are_the_same_in_any_order_and_bounded() -> None:
    sightings = [0, 40, 80, 200, 259, 320, 1000]  # minutes: three within the hour of each other, two, one more, one
    expected = [(0, 80), (200, 259), (320, 320), (1000, 1000)]
    minute = HOUR_US // 60
    for seed in range(6):
        rng = random.Random(seed)
        breadth = Breadth()
        for at in rng.sample(sightings, len(sightings)):
            breadth.see_outage(at * minute, 1000 * minute)
        assert breadth.outages == [(first * minute, last * minute) for first, last in expected]
    for hour in range(0, 400, 2):
        breadth.see_outage(hour * HOUR_US, 400 * HOUR_US)
    assert len(breadth.outages) == MAX_OUTAGES
    assert breadth.outages[-1] == (398 * HOUR_US, 398 * HOUR_US)


def test_untried_releases_are_those_since_the_account_is_there_newest_first() -> None:
    world, who = World(), account()
    who.hot.first_event = DAY * DAY_US
    for name, at in (("before", DAY - 1), ("tried", DAY + 1), ("older", DAY + 2), ("newer", DAY + 3)):
        world.release(name, at * DAY_US, advanced=False)
    use(who, "tried", DAY + 5)
    assert [release.feature for release in untried(who, world)] == ["newer", "older"]
    assert untried(account(), world) == []
