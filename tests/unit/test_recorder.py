"""What the recorder makes of records, before any database."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.health import Component, ScoreDay, UntriedRelease
from services.common.words import words
from services.signals.recorder.fold import fold_events, fold_signals
from services.signals.recorder.records import (
    ErasedRow,
    ErasureRow,
    HealthRow,
    RefusedRow,
    ReleaseRow,
    TimelineRow,
    TransitionRow,
    account_row,
    event_row,
    signal_row,
)
from services.signals.recorder.standing import StandingRow, standing_row
from tests.recorded import APPENDED_0, DAY_0, Stored, erased, event, health, milliseconds, transition

HOUR = dt.timedelta(hours=1)


def test_a_transition_keeps_its_own_bytes_and_its_place() -> None:
    record = transition("acme", "e1", 2, "escalated", sequence=7, severity="critical")
    row = signal_row(record)
    assert isinstance(row, TransitionRow)
    assert (row.account_id, row.ordinal, row.sequence, row.appended_at) == ("acme", 2, 7, APPENDED_0)
    assert row.body.encode() == record.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": None}, "no value"),
        ({"key": None}, "no key"),
        ({"key": b"\xff\xfe"}, "utf-8"),
        ({"key": b"other"}, "subject"),
        ({"value": b"{"}, "truncated"),
        ({"value": b"[]"}, "object"),
        ({"topic": "signals.opportunity"}, "data.kind"),
        ({"headers": ()}, "sequence"),
        ({"headers": (("sequence", b"-1"),)}, "sequence"),
        ({"headers": (("sequence", b"9" * 30),)}, "sequence"),
    ],
)
def test_what_is_no_transition_is_refused_and_says_why(change: dict[str, object], said: str) -> None:
    row = signal_row(transition("acme", "e1", 1, "raised")._replace(**change))
    assert isinstance(row, RefusedRow)
    assert row.reason == "undecodable"
    assert said.lower() in row.detail.lower()


@pytest.mark.parametrize("bad", [b'"id":"e1-0"', b'"id":"e2-1"', b'"id":"e1-x"', b'"id":"e1"', b'"id":"e1-9999999999"'])
def test_an_id_that_is_not_episode_and_ordinal_is_refused(bad: bytes) -> None:
    record = transition("acme", "e1", 1, "raised")
    assert record.value is not None
    row = signal_row(record._replace(value=record.value.replace(b'"id":"e1-1"', bad)))
    assert isinstance(row, RefusedRow)
    assert row.detail.startswith("id:")


def test_health_is_kept_without_its_days_and_a_null_one_erases() -> None:
    row = signal_row(health("acme", 3, usage={DAY_0.date(): 9}))
    assert isinstance(row, HealthRow)
    assert '"usage_days":[]' in row.body
    assert row.health.usage_days[0].usage == 9
    assert isinstance(signal_row(erased("acme")), ErasedRow)
    mismatched = signal_row(health("acme", 3)._replace(key=b"other"))
    assert isinstance(mismatched, RefusedRow)
    assert mismatched.detail.startswith("account_id")


def history(episode: str) -> list[Stored]:
    return [
        transition("acme", episode, 1, "raised", sequence=3),
        transition("acme", episode, 2, "escalated", sequence=5, severity="critical"),
        transition("acme", episode, 3, "cleared", sequence=9, severity="critical"),
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(history("e1") + history("e2")), max_size=20), st.randoms(use_true_random=False))
def test_order_and_repeats_of_transitions_mean_nothing(records: list[Stored], chance: random.Random) -> None:
    shuffled = records + chance.sample(records, k=len(records) // 2)
    chance.shuffle(shuffled)
    once = fold_signals(map(signal_row, records))
    again = fold_signals(map(signal_row, shuffled))
    assert {p: r.body for p, r in once.transitions.items()} == {p: r.body for p, r in again.transitions.items()}
    assert sorted(r.body for r in once.last()) == sorted(r.body for r in again.last())
    assert {row.ordinal for row in again.last()} <= {1, 2, 3}
    assert not again.refused


def test_one_id_with_other_content_is_refused_and_the_first_stays() -> None:
    batch = fold_signals(
        map(signal_row, [transition("acme", "e1", 1, "raised"), transition("acme", "e1", 1, "raised", reason="other")])
    )
    assert [row.reason for row in batch.refused] == ["contradiction"]
    assert "usage over 28 d" in batch.transitions["e1", 1].body


def test_the_highest_sequence_of_health_counts_and_days_add_up_until_an_older_record_comes() -> None:
    day_1, day_2 = DAY_0.date(), (DAY_0 + 24 * HOUR).date()
    batch = fold_signals(
        map(
            signal_row,
            [
                health("acme", 4, usage={day_1: 1}),
                health("acme", 6, usage={day_2: 5}),
                health("acme", 5, usage={day_1: 2}),
            ],
        )
    )
    assert batch.health["acme"].health.sequence == 6
    assert {day: entry.usage for day, entry in batch.days["acme"].items()} == {day_1: 1, day_2: 5}


def test_an_erasure_drops_what_came_before_and_keeps_what_came_after() -> None:
    batch = fold_signals(
        map(
            signal_row,
            [
                health("acme", 4, usage={DAY_0.date(): 1}),
                transition("acme", "e1", 1, "raised"),
                transition("acme", "e1", 2, "cleared", because="erased"),
                erased("acme"),
                health("acme", 6),
            ],
        )
    )
    assert batch.health["acme"].health.sequence == 6
    assert not batch.days["acme"]
    assert not batch.transitions
    assert batch.erased_episodes == {"e1"}


def test_a_timeline_entry_is_the_event_as_it_was_sent() -> None:
    row = event_row(event("accounts", "account.updated", "acme", {"tier": None, "seats": 5}, id_="1"))
    assert isinstance(row, TimelineRow)
    assert (row.account_id, row.type, row.time) == ("acme", "account.updated", DAY_0)
    assert row.data == '{"tier": null, "seats": 5}'


@pytest.mark.parametrize(
    "record",
    [
        event("usage", "usage.feature_used", "acme", {"feature": "usage.value_reached"}, id_="1"),
        event("usage", "usage.logged_in", "acme", {"user": "u"}, id_="1"),
        event("engagement", "mail.opened", "acme", {"user": "u"}, id_="1"),
        event("tickets", "ticket.opened", "acme", {"ticket_id": "1"}, id_="1"),
        event("tickets", "ticket.closed", "acme", {"ticket_id": "1"}, id_="1")._replace(key=b"other"),
        event("tickets", "ticket.closed", "acme", {"ticket_id": "1"}, id_="1", time=APPENDED_0 + 25 * HOUR),
        event("tickets", "ticket.closed", "acme", {"ticket_id": "1"}, id_="1")._replace(value=b"\x00"),
        event("tickets", "ticket.closed", "acme", {"ticket_id": "1"}, id_="1")._replace(value=None),
        event("tickets", "clock.tick", "acme", {"now": "2026-01-01T00:00:00Z"}, id_="1"),
    ],
)
def test_what_does_not_belong_in_a_history_is_left_out(record: Stored) -> None:
    assert event_row(record) is None


def test_in_a_replay_the_future_is_judged_against_its_start() -> None:
    record = event("tickets", "ticket.closed", "acme", {"ticket_id": "1"}, id_="1", time=APPENDED_0 + 25 * HOUR)
    start = milliseconds(APPENDED_0 + 2 * HOUR) * 1000
    assert isinstance(event_row(record._replace(headers=(("run-start", str(start).encode()),))), TimelineRow)
    early = milliseconds(APPENDED_0 - 48 * HOUR) * 1000
    kept = event("tickets", "ticket.closed", "acme", {"ticket_id": "1"}, id_="1", time=APPENDED_0 - 2 * HOUR)
    assert event_row(kept._replace(headers=(("run-start", str(early).encode()),))) is None


def test_value_reached_is_part_of_the_history() -> None:
    row = event_row(event("usage", "usage.value_reached", "acme", {"goal": "g"}, id_="1"))
    assert isinstance(row, TimelineRow)


def test_a_retry_is_one_entry_and_another_source_another() -> None:
    first = event("tickets", "ticket.closed", "acme", {"ticket_id": "1"}, id_="1")
    other = event("tickets", "ticket.closed", "acme", {"ticket_id": "1"}, id_="1", source="crm")
    rows = [row for row in map(event_row, [first, first, other]) if row is not None]
    assert len(fold_events(rows).entries) == 2


def test_the_latest_erasure_of_an_account_counts() -> None:
    rows = [
        event_row(event("accounts", "account.erased", "acme", {}, id_=str(n), time=DAY_0 + n * HOUR, appended=appended))
        for n, appended in ((1, APPENDED_0 + 2 * HOUR), (2, APPENDED_0 + HOUR))
    ]
    batch = fold_events([row for row in rows if row is not None])
    assert batch.erasures["acme"] == ErasureRow("acme", DAY_0 + 2 * HOUR, APPENDED_0 + 2 * HOUR)


def test_an_account_is_listed_by_what_its_profile_says_where_it_says_it_well() -> None:
    row = signal_row(
        health("acme/eu", 1, profile={"name": "Ac\x00me GmbH", "mrr": "12.50", "renewal_date": "2027-01-31", "csm": 5})
    )
    assert isinstance(row, HealthRow)
    listed = account_row(row.health)
    assert (listed.name, listed.sort_name, listed.csm, str(listed.mrr)) == ("Ac�me GmbH", "ac�me gmbh", None, "12.50")
    assert listed.renewal_date == dt.date(2027, 1, 31)
    assert listed.words == "ac me gmbh acme eu"


def test_words_are_cut_the_same_way_wherever_they_come_from() -> None:
    assert words("Ａcme_Süd (GmbH) & Co/eu-1, acme") == ["acme", "süd", "gmbh", "co", "eu", "1"]
    assert words("STRASSE") == words("Straße") == ["strasse"]
    assert words(" -- \x00 ") == []


@given(st.text(max_size=300))
def test_no_text_makes_a_word_that_breaks_a_search(text: str) -> None:
    assert all(word.isalnum() or not word.isascii() for word in words(text))
    assert not any(mark in word for word in words(text) for mark in "' \\:&|!()<>*\x00")


def released(feature: str, at: dt.datetime) -> Stored:
    record = event("accounts", "feature.released", "_", {"feature": feature}, id_="r", time=at, appended=at + HOUR)
    assert record.value is not None
    return record._replace(key=None, value=record.value.replace(b'"subject": "_", ', b""))


def test_a_release_is_kept_with_its_earliest_time_and_other_broadcasts_are_not() -> None:
    rows = [event_row(released("maps", DAY_0 + n * HOUR)) for n in (3, 1, 5)]
    assert all(isinstance(row, ReleaseRow) for row in rows)
    batch = fold_events(row for row in rows if row is not None)
    assert {name: row.released_at for name, row in batch.releases.items()} == {"maps": DAY_0 + HOUR}
    named = event_row(released("a\x1fb" + "x" * 400, DAY_0))
    assert isinstance(named, ReleaseRow)
    assert named.feature == "a b" + "x" * 253
    assert event_row(released("maps", DAY_0)._replace(timestamp=milliseconds(DAY_0 - 25 * HOUR))) is None
    value = b'{"specversion":"1.0","id":"s","source":"s","type":"source.stale","time":"2026-03-01T00:00:00Z"}'
    assert event_row(Stored("accounts", 0, 0, milliseconds(DAY_0), None, value)) is None


def test_scores_of_days_add_up_and_are_no_part_of_the_kept_record() -> None:
    day_1, day_2 = DAY_0.date(), (DAY_0 + 24 * HOUR).date()

    def scored(sequence: int, score: float | None, *days: dt.date) -> Stored:
        listed = [ScoreDay(day=day, score=score, band=None, coverage=0.5) for day in days]
        return health("acme", sequence, score_days=listed)

    rows = [signal_row(record) for record in (scored(4, 70.0, day_1, day_2), scored(5, None, day_2))]
    assert isinstance(rows[0], HealthRow)
    assert '"score_days":[]' in rows[0].body
    batch = fold_signals(rows)
    assert {day: entry.score for day, entry in batch.scores["acme"].items()} == {day_1: 70.0, day_2: None}
    gone = fold_signals([*rows, signal_row(erased("acme"))])
    assert "acme" not in gone.scores


def test_parts_of_a_score_are_those_of_each_days_last_record() -> None:
    def scored(sequence: int, at: dt.datetime, points: float) -> Stored:
        words = {"weight": 100.0, "why": "", "action": ""}
        part = Component(name="adoption", score=points, contribution=points, **words)  # type: ignore[arg-type]
        return health("acme", sequence, as_of=at, score=points, components=[part])

    rows = [scored(1, DAY_0, 40.0), scored(2, DAY_0 + HOUR, 50.0), scored(3, DAY_0 + 24 * HOUR, 60.0)]
    found = fold_signals(map(signal_row, rows)).parts["acme"]
    first = DAY_0.date()
    assert {day: parts[0].contribution for day, parts in found.items()} == {first: 50.0, first + dt.timedelta(1): 60.0}
    assert "acme" not in fold_signals(map(signal_row, [*rows, erased("acme")])).parts


def test_a_standing_is_judged_on_the_day_of_the_record() -> None:
    profile = {"mrr": "8333.34", "contract_start": "2025-11-05", "contract_end": "2026-06-30"}
    release = UntriedRelease(feature="maps", released_at=DAY_0)

    def standing(at: dt.datetime, **more: Any) -> StandingRow:
        row = signal_row(health("acme", 1, as_of=at, profile=profile, untried_releases=[release], **more))
        assert isinstance(row, HealthRow)
        return standing_row(row.health)

    winter = standing(DAY_0, inputs_seen=["account.updated"], score=61.5)
    assert winter == StandingRow(
        account_id="acme",
        weight=Decimal("2.50"),  # ARR 100 000, under a year old, renewal far away
        precedence=2,
        renewal=dt.date(2026, 6, 30),
        cohort=dt.date(2025, 10, 1),
        score=61.5,
        untried=["maps"],
    )
    assert standing(DAY_0 + 60 * 24 * HOUR, inputs_seen=["account.updated"]).weight == Decimal("5.00")
    assert standing(DAY_0).untried is None
    assert standing(DAY_0, churned=True).cohort is None
