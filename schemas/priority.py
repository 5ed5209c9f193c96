"""Whom to turn to first: rank = severity × value × urgency × confidence. Pure, and the one table of its weights.

The recorder stores the rank of every open signal and the api shows the parts that made it, so both must agree. A factor
of 1 is neutral, and what is not known is neutral. Nothing here changes a signal's severity.
"""

from __future__ import annotations

import calendar
import datetime as dt
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from msgspec import Struct

NEUTRAL: Final = Decimal(1)

SEVERITY: Final = {"critical": Decimal(9), "warning": Decimal(3), "info": Decimal(1)}

VALUE_ONE: Final = 10_000
"""The ARR that counts 1. Each tenfold doubles: a large contract goes first, and does not drown all others."""
VALUE_LEAST, VALUE_MOST = Decimal("0.25"), Decimal(8)

RENEWAL_THIS_QUARTER: Final = Decimal(2)
RENEWAL_SOON: Final = Decimal("1.5")
SOON_DAYS: Final = 90

TENURE_FIRST_DAYS: Final = Decimal("1.5")
TENURE_FIRST_YEAR: Final = Decimal("1.25")
FIRST_DAYS, FIRST_YEAR_DAYS = 90, 365

PRICE_STEP_DAYS: Final = 366
PRICE_STEP_MOST: Final = Decimal("1.5")

CONFIDENCE_SURE: Final = Decimal(1)
CONFIDENCE_TWO: Final = Decimal("0.9")
CONFIDENCE_ONE: Final = Decimal("0.8")
CONFIDENCE_NARROW: Final = Decimal("0.5")
COMPOSITE_FAMILY: Final = "critical"
NO_EVIDENCE: Final = frozenset({COMPOSITE_FAMILY, "lifecycle"})
"""Families that repeat what others say, or say nothing of how the account does."""
DERIVED: Final = "renewal.unsecured"
SEVERAL_FAMILIES: Final = 3

NEAR: Final = 2
"""The precedence from which on an account is among the first."""

HUNDREDTH: Final = Decimal("0.01")
LONGEST_NUMBER: Final = 40


class Situation(Struct, frozen=True, kw_only=True):
    """What of an account decides value and urgency. `renewal` is the stated date, `since` the day that tenure counts from."""

    mrr: Decimal | None = None
    currency: str | None = None
    renewal: dt.date | None = None
    contract_start: dt.date | None = None
    since: dt.date | None = None
    step_date: dt.date | None = None
    step_percent: Decimal | None = None


class Judged(Struct, frozen=True, kw_only=True):
    """What of an open signal decides severity and confidence."""

    signal: str
    kind: str
    severity: str
    scope: str


class Part(Struct, frozen=True):
    """One factor of a rank, and why it is what it is."""

    part: str
    factor: Decimal
    words: str


def situation(profile: Mapping[str, Any], first_event_at: dt.datetime | None) -> Situation:
    """The situation in an account's profile. A member that is missing, or is not what it should be, is unknown."""
    step = profile.get("price_step")
    step = step if isinstance(step, Mapping) else {}
    start = _date(profile.get("contract_start"))
    currency = profile.get("currency")
    return Situation(
        mrr=_number(profile.get("mrr")),
        currency=currency if isinstance(currency, str) else None,
        renewal=_date(profile.get("renewal_date")) or _date(profile.get("contract_end")),
        contract_start=start,
        since=start or (None if first_event_at is None else first_event_at.astimezone(dt.UTC).date()),
        step_date=_date(step.get("date")),
        step_percent=_number(step.get("percent")),
    )


def rank(weight: Decimal, judged: Judged, families: int) -> Decimal:
    """The product of all parts, to the hundredth. `weight` is the product of the account's own, see `weight_of`."""
    own = severity(judged).factor * confidence(judged, families).factor
    return (weight * own).quantize(HUNDREDTH)


def product(parts: Iterable[Part]) -> Decimal:
    """The product of the parts."""
    return math.prod((part.factor for part in parts), start=NEUTRAL)


def parts_of(about: Situation, today: dt.date, judged: Judged, families: int) -> list[Part]:
    """Every part of a signal's rank. `families`: see `families_open`."""
    return [severity(judged), *weight_of(about, today), confidence(judged, families)]


def weight_of(about: Situation, today: dt.date) -> list[Part]:
    """The parts that belong to the account, whatever is open: value and urgency."""
    return [value(about), renewal(about, today), tenure(about, today), price_step(about, today)]


def families_open(judged: Iterable[Judged]) -> dict[str, int]:
    """Of each kind, how many families of signals about the whole account are open.

    Composites and `renewal.unsecured` repeat what others say, reminders say nothing of it: they count none.
    """
    found: dict[str, set[str]] = {}
    for entry in judged:
        family = family_of(entry.signal)
        if entry.scope == "account" and family not in NO_EVIDENCE and entry.signal != DERIVED:
            found.setdefault(entry.kind, set()).add(family)
    return {kind: len(families) for kind, families in found.items()}


def family_of(signal: str) -> str:
    """The first part of a signal's id."""
    return signal.partition(".")[0]


def severity(judged: Judged) -> Part:
    """How bad, or how good, the signal says it is."""
    return Part("severity", SEVERITY[judged.severity], f"{judged.severity}: {judged.signal}")


def confidence(judged: Judged, families: int) -> Part:
    """How sure it is that this is about the whole account: an account survives one bad event, not several."""
    if judged.scope in ("user", "campaign"):
        return Part("confidence", CONFIDENCE_NARROW, "one person" if judged.scope == "user" else "one campaign")
    if family_of(judged.signal) == COMPOSITE_FAMILY:
        return Part("confidence", CONFIDENCE_SURE, "several independent inputs agree")
    if families >= SEVERAL_FAMILIES:
        return Part("confidence", CONFIDENCE_SURE, f"signals of {families} families are open")
    if families == SEVERAL_FAMILIES - 1:
        return Part("confidence", CONFIDENCE_TWO, "signals of 2 families are open")
    return Part("confidence", CONFIDENCE_ONE, "nothing of another family agrees")


def value(about: Situation) -> Part:
    """What the account is worth a year: ARR is MRR × 12, in its own currency."""
    if about.mrr is None:
        return Part("value", NEUTRAL, "ARR is not known")
    arr = about.mrr * 12
    words = f"ARR {amount(arr)} {about.currency or ''}".rstrip()
    if arr <= 0:
        return Part("value", VALUE_LEAST, words)
    factor = Decimal(2 ** math.log10(arr / VALUE_ONE)).quantize(HUNDREDTH)
    return Part("value", min(max(factor, VALUE_LEAST), VALUE_MOST), words)


def renewal(about: Situation, today: dt.date) -> Part:
    """How near the renewal is; without a date, the next anniversary of the signature."""
    if about.renewal is not None:
        due, what = about.renewal, f"renews {about.renewal}"
    elif about.contract_start is not None:
        due = _anniversary(about.contract_start, today)
        what = f"no renewal date; signature's anniversary {due}"
    else:
        return Part("renewal", NEUTRAL, "the renewal is not known")
    if due < today:
        return Part("renewal", RENEWAL_THIS_QUARTER, f"was to renew {due} and has not")
    if due <= quarter_end(today):
        return Part("renewal", RENEWAL_THIS_QUARTER, f"{what}, in this quarter")
    if (due - today).days <= SOON_DAYS:
        return Part("renewal", RENEWAL_SOON, f"{what}, within {SOON_DAYS} days")
    return Part("renewal", NEUTRAL, what)


def tenure(about: Situation, today: dt.date) -> Part:
    """How new the account is."""
    if about.since is None:
        return Part("tenure", NEUTRAL, "tenure is not known")
    days = (today - about.since).days
    if days < FIRST_DAYS:
        return Part("tenure", TENURE_FIRST_DAYS, f"in its first {FIRST_DAYS} days (since {about.since})")
    if days < FIRST_YEAR_DAYS:
        return Part("tenure", TENURE_FIRST_YEAR, f"under a year old (since {about.since})")
    return Part("tenure", NEUTRAL, f"customer since {about.since}")


def price_step(about: Situation, today: dt.date) -> Part:
    """A rise of the price within a year: half of its percentage is added, 1.5 at most."""
    if not has_price_step(about, today):
        return Part("price_step", NEUTRAL, "no rise of the price within a year")
    assert about.step_percent is not None
    factor = min(NEUTRAL + about.step_percent / 200, PRICE_STEP_MOST).quantize(HUNDREDTH)
    return Part("price_step", factor, f"+{amount(about.step_percent)} % on {about.step_date}")


def has_price_step(about: Situation, today: dt.date) -> bool:
    """Whether a rise of the price is scheduled within a year."""
    if about.step_date is None or about.step_percent is None or about.step_percent <= 0:
        return False
    return 0 <= (about.step_date - today).days <= PRICE_STEP_DAYS


def precedence(about: Situation, today: dt.date) -> int:
    """`NEAR` for an account that renews in this quarter or is under a year old, and 1 more where its price will rise."""
    near = renewal(about, today).factor == RENEWAL_THIS_QUARTER or tenure(about, today).factor > NEUTRAL
    return NEAR * near + has_price_step(about, today)


def quarter_start(day: dt.date) -> dt.date:
    """The first day of the calendar quarter."""
    return day.replace(month=day.month - (day.month - 1) % 3, day=1)


def quarter_end(day: dt.date) -> dt.date:
    """The last day of the calendar quarter."""
    month = quarter_start(day).month + 2
    return day.replace(month=month, day=calendar.monthrange(day.year, month)[1])


def amount(number: Decimal) -> str:
    """A number for people: thousands apart, no more digits than it has."""
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _anniversary(start: dt.date, today: dt.date) -> dt.date:
    """The next one, today included, never the signature itself."""
    year = max(today.year, start.year + 1)
    found = _in_year(start, year)
    return found if found >= today else _in_year(start, year + 1)


def _in_year(start: dt.date, year: int) -> dt.date:
    last = calendar.monthrange(min(year, dt.MAXYEAR), start.month)[1]
    return dt.date(min(year, dt.MAXYEAR), start.month, min(start.day, last))


def _date(given: object) -> dt.date | None:
    try:
        return dt.date.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        return None


def _number(given: object) -> Decimal | None:
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        return None
    text = str(given)
    try:
        found = Decimal(text) if len(text) <= LONGEST_NUMBER else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() and abs(found.adjusted()) <= LONGEST_NUMBER else None
