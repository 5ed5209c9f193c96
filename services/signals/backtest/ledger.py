"""What the portfolio's measure needs to know of every account, counted from recorded events as they pass."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET

from schemas.envelope import Event
from schemas.events import EVENT_TYPES
from schemas.events.accounts import PortfolioMeasured, SourceState
from services.signals.core.days import DAY_US, add_months, date_of
from services.signals.core.portfolio import Row, measure

RING: Final = 64
WINDOW: Final = 28
ANSWERS_DAYS: Final = 90
PRODUCTION: Final = "production"


class _Account:
    """Uses by day in a ring that the sums of both windows follow, and the facts of the profile that count."""

    __slots__ = ("answers", "churned", "current", "days", "industry", "last", "mrr", "previous", "tier")

    def __init__(self) -> None:
        self.days = [0] * RING
        self.current = self.previous = 0
        self.last = -1
        self.tier: str | None = None
        self.industry: str | None = None
        self.churned = False
        self.mrr: list[tuple[int, float]] = []  # (day, MRR from then on), by day
        self.answers: list[tuple[int, str, int]] = []  # (day, kind, score)

    def used(self, day: int, today: int, count: int) -> None:
        if not today - 2 * WINDOW <= day <= today:
            return
        self.days[day % RING] += count
        if day > self.last:
            self.last = day
        if day < today - WINDOW:
            self.previous += count
        elif day < today:
            self.current += count

    def end_day(self, today: int) -> None:
        """`today` is over: the windows now end with it."""
        days = self.days
        leaving = days[(today - WINDOW) % RING]
        self.current += days[today % RING] - leaving
        self.previous += leaving - days[(today - 2 * WINDOW) % RING]
        days[(today + 1) % RING] = 0

    def forget(self) -> None:
        """No day that counts was used."""
        self.days = [0] * RING
        self.current = self.previous = 0
        self.last = -1

    def earned(self, day: int, mrr: float) -> None:
        place = bisect_right(self.mrr, (day, float("inf")))
        self.mrr.insert(place, (day, mrr))

    def row(self, ended: int, year_ago: int) -> Row:
        days = self.days
        answered = [entry for entry in self.answers if entry[0] > ended - ANSWERS_DAYS]
        if len(answered) < len(self.answers):
            self.answers = answered
        growth = None
        if self.mrr and self.mrr[0][0] <= year_ago:
            before = self.mrr[bisect_right(self.mrr, (year_ago, float("inf"))) - 1][1]
            growth = self.mrr[-1][1] / before - 1 if before > 0 else None
        return Row(
            self.tier,
            self.industry,
            self.current,
            self.previous,
            days[ended % RING],
            tuple(days[(ended - 7 * weeks) % RING] for weeks in range(1, 5)) if self.last >= 0 else (),
            growth,
            _sum(answered, "nps"),
            _sum(answered, "csat"),
        )


def _sum(answers: list[tuple[int, str, int]], kind: str) -> tuple[int, int]:
    scores = [score for _, name, score in answers if name == kind]
    return sum(scores), len(scores)


class Ledger:
    """Takes events in the order of the recording, and measures the portfolio at each midnight."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._today = -1

    def take(self, event: Event, at: int) -> None:
        """Count one event of an account, of the time `at` (µs). Retries of a producer count again: a median does not mind."""
        handler = _HANDLERS.get(event.__class__)
        if handler is None or event.subject is None:
            return
        account = self._accounts.get(event.subject)
        if account is None:
            account = self._accounts[event.subject] = _Account()
        day = at // DAY_US
        if day > self._today:
            self._today = day
        handler(account, event.data, day, self._today)
        if handler is _erased:
            del self._accounts[event.subject]

    def midnight(self, at: int, late: Sequence[SourceState]) -> PortfolioMeasured:
        """The day that ends at the midnight `at` (µs), measured, with the sources that are late. Midnights may be left out."""
        today = at // DAY_US
        if self._today < 0:
            self._today = today
        while self._today < today:
            self._end_day()
        year_ago = add_months(today - 1, -12)
        rows = (account.row(today - 1, year_ago) for account in self._accounts.values() if not account.churned)
        return measure(rows, date_of(today - 1), late)

    def _end_day(self) -> None:
        ended = self._today
        for account in self._accounts.values():
            if account.last >= 0:
                account.end_day(ended)
                if account.last < ended - 2 * WINDOW:
                    account.forget()
        self._today = ended + 1


def _feature_used(account: _Account, data: Any, day: int, today: int) -> None:
    if data.environment is None or data.environment == PRODUCTION:
        account.used(day, today, data.count)


def _updated(account: _Account, data: Any, day: int, today: int) -> None:
    if data.tier is not UNSET:
        account.tier = data.tier
    if data.industry is not UNSET:
        account.industry = data.industry
    if data.mrr is not UNSET and data.mrr is not None:
        account.earned(day, float(data.mrr))


def _renewed(account: _Account, data: Any, day: int, today: int) -> None:
    account.churned = False
    if data.mrr is not None:
        account.earned(day, float(data.mrr))


def _gone(account: _Account, data: Any, day: int, today: int) -> None:
    account.churned = True


def _answered(account: _Account, data: Any, day: int, today: int) -> None:
    if data.score is not None and data.kind in ("nps", "csat"):
        account.answers.append((day, data.kind, data.score))


def _erased(account: _Account, data: Any, day: int, today: int) -> None:
    account.churned = True


_BY_TYPE: Final = {
    "usage.feature_used": _feature_used,
    "account.updated": _updated,
    "account.renewed": _renewed,
    "account.churned": _gone,
    "account.erased": _erased,
    "survey.answered": _answered,
}
_HANDLERS: Final = {EVENT_TYPES[name].event: handler for name, handler in _BY_TYPE.items()}
