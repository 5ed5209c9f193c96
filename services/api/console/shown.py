"""How times, numbers and amounts are written for people. Pure: the clock and the zone are given."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from decimal import Decimal
from functools import lru_cache
from typing import Final

from markupsafe import Markup
from msgspec import Struct

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400
RELATIVE_DAYS: Final = 7
NO_CURRENCY: Final = "XXX"
MINUS: Final = "\u2212"
UTC_NAME: Final = "UTC"


class Clock(Struct, frozen=True):
    """The instant that a page is made at, and the zone that its reader is in."""

    now: dt.datetime
    zone: dt.tzinfo
    zone_name: str


@lru_cache(maxsize=64)
def zone_of(name: str | None) -> tuple[dt.tzinfo, str]:
    """The zone of this name, and how it is called; UTC where there is none of that name."""
    if name:
        try:
            return zoneinfo.ZoneInfo(name), name
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
    return dt.UTC, UTC_NAME


# --- time ----------------------------------------------------------------------------------------------------------


def span(seconds: float) -> str:
    """A length of time in its two largest fitting units: "40 s", "14 min", "3 h 5 min", "2 d 4 h", "38 d"."""
    whole = max(0, int(seconds))
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min"
    if whole < DAY_S:
        return _two(whole // HOUR_S, "h", whole % HOUR_S // MINUTE_S, "min")
    if whole < RELATIVE_DAYS * DAY_S:
        return _two(whole // DAY_S, "d", whole % DAY_S // HOUR_S, "h")
    return f"{whole // DAY_S} d"


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large} {unit} {small} {smaller}" if small else f"{large} {unit}"


def short_span(seconds: float) -> str:
    """A length of time in one unit, for lists: "14 min", "3 h", "2 d"."""
    return " ".join(span(seconds).split(" ")[:2])


def exact(at: dt.datetime, clock: Clock) -> str:
    """An instant as day and minute in the reader's zone: "18 Nov 2026, 14:05"."""
    there = at.astimezone(clock.zone)
    return f"{there.day} {there:%b %Y, %H:%M}"


def at_minute(at: dt.datetime, clock: Clock) -> str:
    """An instant as day and minute with the reader's zone: "18 Nov 2026, 14:05 Europe/Berlin"."""
    return f"{exact(at, clock)} {clock.zone_name}"


def hour(at: dt.datetime, clock: Clock) -> str:
    """An instant without the zone, and without the day where it is today: "14:05", "18 Nov, 14:05"."""
    there = at.astimezone(clock.zone)
    today = there.date() == clock.now.astimezone(clock.zone).date()
    return f"{there:%H:%M}" if today else f"{there.day} {there:%b, %H:%M}"


def day(value: dt.date) -> str:
    """A UTC day: "18 Nov 2026"."""
    return f"{value.day} {value:%b %Y}"


def relative(at: dt.datetime, clock: Clock) -> str:
    """An instant beside now where it is less than a week away ("3 d ago", "in 2 h"), else its day."""
    seconds = (clock.now - at).total_seconds()
    if abs(seconds) >= RELATIVE_DAYS * DAY_S:
        return day(at.astimezone(clock.zone).date())
    if abs(seconds) < MINUTE_S:
        return "just now"
    return f"{short_span(seconds)} ago" if seconds > 0 else f"in {short_span(-seconds)}"


def time_element(at: dt.datetime, text: str, clock: Clock) -> Markup:
    """A `<time>` whose title is the exact instant with its zone."""
    utc = at.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{} {}">{}</time>').format(utc, exact(at, clock), clock.zone_name, text)


def days_until(value: dt.date, clock: Clock) -> str:
    """A UTC day beside today: "in 38 d", "today", "5 d ago"."""
    days = (value - clock.now.astimezone(dt.UTC).date()).days
    if days == 0:
        return "today"
    return f"in {days} d" if days > 0 else f"{-days} d ago"


# --- numbers -------------------------------------------------------------------------------------------------------


def number(value: float | Decimal | None, places: int = 0) -> str:
    """A number with thousands set apart; without trailing zeros. "not known" for None."""
    if value is None:
        return "not known"
    text = f"{value:,.{places}f}"
    if places:
        text = text.rstrip("0").rstrip(".")
    return MINUS + text[1:] if text.startswith("-") else text


def compact(value: float | Decimal) -> str:
    """A number for lists, cut to what is said aloud: "1.2M", "240k", "950"."""
    exact_value = Decimal(value)
    size = abs(exact_value)
    for limit, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        # 999,500 rounds to a thousand of the smaller unit, which is one of the larger.
        if size >= limit * (1 if limit == 10**3 else Decimal("0.9995")):
            scaled = exact_value / limit
            return number(scaled, 1 if abs(scaled) < 100 else 0) + unit
    return number(value)


def percent(share: float | Decimal | None) -> str:
    """A share of 1 as percentage: "51%". "not known" for None."""
    if share is None:
        return "not known"
    hundredths = Decimal(share) * 100
    return number(hundredths, 1 if abs(hundredths) < 10 else 0) + "%"


def signed(value: float | Decimal, places: int = 0) -> str:
    """A change with its sign: "+3", "−9"."""
    text = number(value, places)
    return text if text.startswith(MINUS) or text == "0" else f"+{text}"


# --- money ---------------------------------------------------------------------------------------------------------


def money(amount: Decimal | str | None, currency: str | None) -> str:
    """An amount as it is, with the code of its currency: "240,000.50 EUR". Never a float, never converted."""
    return "not known" if amount is None else f"{_exact(Decimal(amount))} {currency_name(currency)}"


def money_short(amount: Decimal | str | None, currency: str | None) -> str:
    """An amount for lists: "240k EUR"."""
    return "not known" if amount is None else f"{compact(Decimal(amount))} {currency_name(currency)}"


def currency_name(currency: str | None) -> str:
    """The code of a currency. `XXX` and nothing mean that none was stated."""
    return currency if currency and currency != NO_CURRENCY else "(no currency)"


def _exact(amount: Decimal) -> str:
    cents = amount.quantize(Decimal("0.01"))
    text = f"{cents:,.2f}" if cents == amount else f"{amount:,f}"
    text = text.removesuffix(".00")
    return MINUS + text[1:] if text.startswith("-") else text
