"""Surveys sent and answered: whether the latest was answered and how, and each person's latest score, in bounded form.

A survey is its id: sent to many, it is answered once anybody of the account answered it.
"""

from __future__ import annotations

from statistics import mean
from typing import Final

from msgspec import Struct

from services.signals.core.days import DAY_US

ANSWERED_DAYS: Final = 90
"""How long an answer stands for what its person thinks."""
MAX_SURVEYS: Final = 60
MAX_PEOPLE: Final = 100


class Survey(Struct, array_like=True):
    """One survey. Instants in µs, -1 is never: first and last sent, last answered. `score` is the last answer's, if any."""

    kind: str
    sent_at: int = -1
    resent_at: int = -1
    answered_at: int = -1
    score: int | None = None
    user: str = ""
    event_id: str = ""
    answer_event: str = ""

    @property
    def latest(self) -> int:
        """When something was last heard of it."""
        return max(self.resent_at, self.answered_at)


class Answer(Struct, array_like=True):
    """A person's latest scored answer to one kind of survey, at `at` (µs)."""

    at: int
    score: int
    event_id: str


class Surveys(Struct, array_like=True):
    """The latest `MAX_SURVEYS` surveys by id, and the latest answers by kind and person (`""`: nobody named)."""

    known: dict[str, Survey] = {}
    answers: dict[str, dict[str, Answer]] = {}

    def send(self, survey_id: str, kind: str, at: int, event_id: str) -> None:
        """A survey was sent, or sent again: it waits since the first time."""
        survey = self.known.setdefault(survey_id, Survey(kind))
        if survey.sent_at < 0 or at < survey.sent_at:
            survey.sent_at, survey.event_id = at, event_id
        survey.resent_at = max(survey.resent_at, at)
        self._bound()

    def answer(self, survey_id: str, kind: str, user: str, score: int | None, at: int, event_id: str) -> None:
        """A survey was answered; of several answers the latest by time stands for the survey, and for its person."""
        survey = self.known.setdefault(survey_id, Survey(kind))
        if at >= survey.answered_at:
            survey.answered_at, survey.score, survey.user, survey.answer_event = at, score, user, event_id
        self._bound()
        if score is None:
            return
        people = self.answers.setdefault(kind, {})
        if user not in people or at >= people[user].at:
            people[user] = Answer(at, score, event_id)
        if len(people) > MAX_PEOPLE:
            del people[min(people, key=lambda name: (people[name].at, name))]

    def _bound(self) -> None:
        if len(self.known) > MAX_SURVEYS:
            del self.known[min(self.known, key=lambda name: (self.known[name].latest, name))]

    def latest(self) -> tuple[str, Survey] | None:
        """The survey of which something was heard last, sent or answered."""
        if not self.known:
            return None
        name = max(self.known, key=lambda name: (self.known[name].latest, name))
        return name, self.known[name]

    def waiting(self) -> list[tuple[int, str]]:
        """(first sent, id) of surveys that nobody answered, by time; not those after which the same kind was answered."""
        settled: dict[str, int] = {}
        for survey in self.known.values():
            if survey.answered_at >= 0:
                settled[survey.kind] = max(settled.get(survey.kind, -1), survey.answered_at)
        return sorted(
            (survey.sent_at, name)
            for name, survey in self.known.items()
            if survey.answered_at < 0 and survey.sent_at > settled.get(survey.kind, -1)
        )

    def standing(self, kind: str, now: int, days: int = ANSWERED_DAYS) -> list[Answer]:
        """The latest answer of each person to a kind of survey in the trailing `days`, by time."""
        since = now - days * DAY_US
        found = [answer for answer in self.answers.get(kind, {}).values() if since < answer.at <= now]
        return sorted(found, key=lambda answer: (answer.at, answer.event_id))


def mean_score(surveys: Surveys, kind: str, now: int, days: int = ANSWERED_DAYS) -> float | None:
    """Mean of the latest answers of each person to a kind of survey in the trailing `days`, None where there are none."""
    found = surveys.standing(kind, now, days)
    return mean(answer.score for answer in found) if found else None


def latest_scores(surveys: Surveys) -> dict[str, tuple[int, int]]:
    """By kind of survey: the time (µs) and the score of the latest scored answer of anybody."""
    return {
        kind: max((answer.at, answer.score) for answer in people.values())
        for kind, people in sorted(surveys.answers.items())
        if people
    }
