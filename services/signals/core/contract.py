"""The account's profile and what follows from it: tier, seats, pricing, tenure, renewal. The latest event time wins per field."""

from __future__ import annotations

import datetime as dt
from bisect import insort
from typing import Any

from msgspec import Struct

from services.signals.core.days import add_months, date_of, day_of, day_of_date, midnight

DEFAULT_TIER = "low"
DEFAULT_TERM_MONTHS = 12
DATES = ("renewal_date", "contract_end")
TERM = "term"
WATCHED = (
    "tier",
    "industry",
    "region",
    "size",
    "plan",
    "seats",
    "auto_renew",
    "pricing",
    "fit",
    "parent",
    "partner",
    "stage",
    "csm",
    "sales_owner",
    "finance_owner",
)
"""Fields of which it is kept when they last changed, and from what."""
MAX_DATES = 24
"""Dates and renewals that are kept apart; before that the older half is folded into what it came to."""


class Profile(Struct, array_like=True):
    """Profile fields as JSON values, and the event time that set each."""

    fields: dict[str, Any] = {}
    set_at: dict[str, int] = {}
    dates: list[tuple[int, str, str | int | None]] = []  # what was said of the renewal: time, field or "term", value
    changes: dict[str, tuple[int, Any]] = {}  # of `WATCHED` fields: when it last changed, and the value before

    def put(self, name: str, value: Any, at: int) -> bool:
        """Set a field unless a later event already did; None clears it. True when the value changed."""
        if name in DATES:
            return self._say(name, value, at)
        if at < self.set_at.get(name, at):
            return False
        first = name not in self.set_at
        self.set_at[name] = at
        before = self.fields.get(name)
        if value is None:
            self.fields.pop(name, None)
        else:
            self.fields[name] = value
        if before == value:
            return False
        if not first and name in WATCHED:
            self.changes[name] = (at, before)
        return True

    @property
    def tier(self) -> str:
        """Tier in force: an account without one is low touch."""
        return str(self.fields.get("tier", DEFAULT_TIER))

    @property
    def seats(self) -> int:
        """Licences bought, 0 where unknown."""
        return int(self.fields.get("seats", 0))

    @property
    def per_seat(self) -> bool:
        """Whether the price follows the seats: so unless another pricing is known."""
        return bool(self.fields.get("pricing", "per_seat") == "per_seat")

    @property
    def renewal_day(self) -> int | None:
        """Day of renewal: the renewal date, or else the end of the contract."""
        text = self.fields.get("renewal_date") or self.fields.get("contract_end")
        return day_of_date(dt.date.fromisoformat(text)) if text else None

    def tenure_start(self, first_event: int) -> int:
        """The instant tenure counts from: midnight of the contract's start, or else the first event."""
        text = self.fields.get("contract_start")
        return midnight(day_of_date(dt.date.fromisoformat(text))) if text else first_event

    def days_to_renewal(self, now: int) -> int | None:
        """Days from today to the renewal date, negative once it has passed."""
        day = self.renewal_day
        return None if day is None else day - day_of(now)

    def renew(self, months: int | None, mrr: str | None, at: int) -> None:
        """Move the renewal date by the new term. A date that was stated after the renewal stands as it is."""
        self._say(TERM, months or DEFAULT_TERM_MONTHS, at)
        if mrr is not None:
            self.put("mrr", mrr, at)

    def _say(self, what: str, value: Any, at: int) -> bool:
        """Take in a date or a term in the order of their times, whenever it came. True when a date is another now.

        All that was said is kept, for a date stated late is moved by the renewals after it.
        """
        said = self.dates
        if not said:  # state of before `dates` were kept
            said += [(self.set_at.get(name, at), name, self.fields[name]) for name in DATES if name in self.fields]
        insort(said, (at, what, value), key=lambda entry: entry[0])
        before = [self.fields.get(name) for name in DATES]
        if len(said) > MAX_DATES:
            until = said[MAX_DATES // 2][0]
            old = _dates(said[: MAX_DATES // 2 + 1])
            said[: MAX_DATES // 2 + 1] = [(until, name, old[name]) for name in DATES]
        for name, date in _dates(said).items():
            if date is None:
                self.fields.pop(name, None)
            else:
                self.fields[name] = date
        return before != [self.fields.get(name) for name in DATES]


def _dates(said: list[tuple[int, str, str | int | None]]) -> dict[str, str | None]:
    """The dates after all that was said, in order."""
    dates: dict[str, str | None] = dict.fromkeys(DATES)
    for _, what, value in said:
        if what != TERM:
            dates[what] = None if value is None else str(value)
        elif text := dates["renewal_date"] or dates["contract_end"]:
            day = day_of_date(dt.date.fromisoformat(text))
            dates["renewal_date"] = date_of(add_months(day, int(value or 0))).isoformat()
    return dates
