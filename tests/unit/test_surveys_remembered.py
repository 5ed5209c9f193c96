"""Surveys as they are remembered: which is the latest, which wait, and what people think now."""

from __future__ import annotations

from services.signals.core.days import DAY_US
from services.signals.core.surveys import MAX_PEOPLE, MAX_SURVEYS, Surveys, latest_scores, mean_score

NOW = 1000 * DAY_US


def test_the_latest_is_the_one_heard_of_last() -> None:
    surveys = Surveys()
    surveys.send("a", "nps", 10, "e1")
    surveys.send("b", "csat", 20, "e2")
    assert surveys.latest() == ("b", surveys.known["b"])
    surveys.answer("a", "nps", "ana", 9, 30, "e3")
    assert surveys.latest() == ("a", surveys.known["a"])
    surveys.send("b", "csat", 40, "e4")
    assert surveys.latest() == ("b", surveys.known["b"])
    assert (surveys.known["b"].sent_at, surveys.known["b"].event_id) == (20, "e2")


def test_a_survey_waits_until_it_or_a_later_one_of_its_kind_is_answered() -> None:
    surveys = Surveys()
    surveys.send("a", "nps", 10, "e1")
    surveys.send("b", "nps", 20, "e2")
    surveys.send("c", "csat", 30, "e3")
    assert surveys.waiting() == [(10, "a"), (20, "b"), (30, "c")]
    surveys.answer("b", "nps", "", None, 25, "e4")
    assert surveys.waiting() == [(30, "c")]


def test_of_a_person_the_latest_answer_counts_and_of_a_survey_the_latest_by_time() -> None:
    surveys = Surveys()
    surveys.answer("a", "nps", "ana", 9, NOW, "e1")
    surveys.answer("b", "nps", "ana", 2, NOW - 1, "e2")
    surveys.answer("a", "nps", "bo", 4, NOW - 2, "e3")
    assert (surveys.known["a"].score, surveys.known["a"].user) == (9, "ana")
    assert mean_score(surveys, "nps", NOW) == 6.5
    assert latest_scores(surveys) == {"nps": (NOW, 9)}


def test_an_answer_stands_for_less_than_90_days() -> None:
    surveys = Surveys()
    surveys.answer("a", "ces", "ana", 3, NOW - 90 * DAY_US, "e1")
    assert mean_score(surveys, "ces", NOW) is None
    assert mean_score(surveys, "ces", NOW - 1) == 3


def test_the_longest_unheard_of_are_dropped() -> None:
    surveys = Surveys()
    for n in range(MAX_SURVEYS + 1):
        surveys.send(f"s{n}", "nps", n, f"e{n}")
    for n in range(MAX_PEOPLE + 1):
        surveys.answer("s", "csat", f"u{n}", 5, NOW + n, f"a{n}")
    assert len(surveys.known) == MAX_SURVEYS
    assert "s0" not in surveys.known
    assert len(surveys.answers["csat"]) == MAX_PEOPLE
    assert "u0" not in surveys.answers["csat"]
