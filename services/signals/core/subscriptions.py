"""What an account pays, by time and exactly: per subscription, per product on invoices, and as the profile states it.

What is paid is kept as *lines*, each a list of levels by event time, so that what was said late counts in its place.
Where an account has subscriptions, they say what it pays; else its profile does; else its invoices.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from services.signals.core.days import DAY_US, NEVER

MAX_LINES: Final = 100
MAX_LEVELS: Final = 16
YEAR_US: Final = 365 * DAY_US
SETTLED_IN_US: Final = 30 * DAY_US
"""A contract is put together over its first month: growth counts from the end of it."""
LATE_DAYS: Final = 60
"""By how much more than 12 months a renewal, and the growth that it brings, may follow the one before."""
CONTRACT: Final = "contract"
"""What the profile's own amount and seats are called where products are told apart."""

SUBSCRIPTION: Final = "s"
INVOICED: Final = "i"
STATED: Final = "c"


class Level(Struct, array_like=True):
    """What was said of a line at an instant; None stays as it was before. Decimal text; `mrr` is per month.

    `same_until` is when the same was last said again.
    """

    at: int
    mrr: str | None = None
    quantity: str | None = None
    unit_price: str | None = None
    discount: str | None = None
    event_id: str = ""
    same_until: int = -1


class Line(Struct, array_like=True):
    """What is paid for one thing, by time. `bill` is the last recurring invoice that it stood on, issued at `billed_at`."""

    product: str
    levels: list[Level] = []
    bill: str = ""
    billed_at: int = -1

    def say(self, level: Level) -> None:
        """Take in what was said, in the order of its time. Beyond the cap the two oldest become one."""
        before = self.at(level.at)
        if before is not None:
            held = next(known for known in reversed(self.levels) if known.at <= level.at)
            if _values(_over(before, level)) == _values(before):
                held.same_until = max(held.same_until, level.at)
                return
            if held.same_until > level.at:
                insort(self.levels, _over(before, Level(held.same_until)), key=lambda known: known.at)
                held.same_until = -1
        insort(self.levels, level, key=lambda known: known.at)
        while len(self.levels) > MAX_LEVELS:
            self.levels[:2] = [_over(self.levels[0], self.levels[1])]

    @property
    def ended(self) -> bool:
        """Whether nothing is paid for it any more, as far as is known."""
        last = self.at(NEVER)
        return last is not None and last.mrr is not None and Decimal(last.mrr) == 0

    def at(self, instant: int) -> Level | None:
        """What held at an instant, None before anything was said."""
        found: Level | None = None
        for level in self.levels:
            if level.at > instant:
                break
            found = level if found is None else _over(found, level)
        return found


def _over(old: Level, new: Level) -> Level:
    return Level(
        new.at,
        old.mrr if new.mrr is None else new.mrr,
        old.quantity if new.quantity is None else new.quantity,
        old.unit_price if new.unit_price is None else new.unit_price,
        old.discount if new.discount is None else new.discount,
        new.event_id or old.event_id,
    )


def _values(level: Level) -> tuple[str | None, ...]:
    return level.mrr, level.quantity, level.unit_price, level.discount


class Subscriptions(Struct, array_like=True):
    """The lines by kind and name."""

    lines: dict[str, Line] = {}

    def line(self, kind: str, name: str, product: str) -> Line | None:
        """The line of this name, a new one if there is none. One that ended makes room for it; None where none did."""
        key = kind + name
        line = self.lines.get(key)
        if line is None:
            if len(self.lines) >= MAX_LINES:
                ended = [(known.levels[-1].at, other) for other, known in self.lines.items() if known.ended]
                if not ended:
                    return None
                del self.lines[min(ended)[1]]
            line = self.lines[key] = Line(product)
        return line

    def of(self, *kinds: str) -> list[Line]:
        """The lines of these kinds."""
        return [line for key, line in self.lines.items() if key[0] in kinds]

    def products(self, *, metered: bool) -> dict[str, list[Line]]:
        """Lines by product: its subscriptions, else its invoices unless they are `metered`, else the stated contract."""
        found: dict[str, list[Line]] = {}
        for line in self.of(SUBSCRIPTION):
            found.setdefault(line.product, []).append(line)
        if not metered:
            for line in self.of(INVOICED):
                if line.product not in found:
                    found[line.product] = [line]
        return found or {line.product: [line] for line in self.of(STATED)}

    def paying(self) -> list[Line]:
        """The lines that say what the account pays in all."""
        stated = [line for line in self.of(STATED) if any(level.mrr is not None for level in line.levels)]
        return self.of(SUBSCRIPTION) or stated or self.of(INVOICED)


class Standing(Struct):
    """What one product comes to: per month, and its parts. None where it is not known."""

    mrr: Decimal | None
    quantity: Decimal | None
    unit_price: Decimal | None
    discount: Decimal | None


class Fall(Struct):
    """One measure that is worse than before: the best of the window, and now."""

    measure: str
    before: Decimal
    now: Decimal


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def standing(lines: Sequence[Line], at: int) -> Standing | None:
    """What these lines of one product come to at an instant, None before anything was said of them."""
    levels = [level for line in lines if (level := line.at(at)) is not None]
    if not levels:
        return None
    amounts = [_decimal(level.mrr) for level in levels]
    known = [amount for amount in amounts if amount is not None]
    sold = [
        Decimal(0) if amount == 0 else _decimal(level.quantity) for level, amount in zip(levels, amounts, strict=True)
    ]
    paid = [level for level, amount in zip(levels, amounts, strict=True) if amount != 0]
    return Standing(
        sum(known, Decimal(0)) if known else None,
        _total(sold),
        _weighed(paid, [level.unit_price for level in paid]),
        _weighed(paid, [level.discount for level in paid]),
    )


def _total(values: Sequence[Decimal | None]) -> Decimal | None:
    known = [value for value in values if value is not None]
    return sum(known, Decimal(0)) if len(known) == len(values) else None


def _weighed(levels: Sequence[Level], texts: Sequence[str | None]) -> Decimal | None:
    """The mean of a price or discount over what was sold; of one line it is that line's."""
    if len(levels) == 1:
        return _decimal(texts[0])
    sold = _total([_decimal(level.quantity) for level in levels])
    if not sold or None in texts:
        return None
    pairs = zip(levels, texts, strict=True)
    return sum((Decimal(level.quantity or 0) * Decimal(text or 0) for level, text in pairs), Decimal(0)) / sold


def falls(lines: Sequence[Line], now: int, days: int) -> list[Fall]:
    """What is worse now than at its best within the trailing `days`, the level that held when they began included."""
    current = standing(lines, now)
    if current is None:
        return []
    since = now - days * DAY_US
    instants = {since, *(level.at for line in lines for level in line.levels if since < level.at <= now)}
    before = [one for at in instants if (one := standing(lines, at)) is not None]
    found: list[Fall] = []
    for measure in ("mrr", "quantity", "unit_price", "discount"):
        value = getattr(current, measure)
        known = [past for one in before if (past := getattr(one, measure)) is not None]
        if value is None or not known:
            continue
        best = min(known) if measure == "discount" else max(known)
        if value > best if measure == "discount" else value < best:
            found.append(Fall(measure, best, value))
    return found


def next_level_out(lines: Iterable[Line], now: int, days: int) -> int:
    """The next instant at which a level comes to begin the trailing window, or 0."""
    begins = (level.at + days * DAY_US for line in lines for level in line.levels)
    return min((at for at in begins if at > now), default=0)


def recurring(paid: Subscriptions, at: int) -> Decimal | None:
    """What the account paid per month in all at an instant, None before that was known."""
    found = standing(paid.paying(), at)
    return None if found is None else found.mrr


def known_since(paid: Subscriptions) -> int:
    """The instant from which on it is known what the account pays, -1 where it never was."""
    firsts = (level.at for line in paid.paying() for level in line.levels if level.mrr is not None)
    return min(firsts, default=-1)


def first_contract(paid: Subscriptions) -> Decimal | None:
    """What the account paid per month when its first contract was settled, a month after it was first known."""
    since = known_since(paid)
    return None if since < 0 else recurring(paid, since + SETTLED_IN_US)


def growth_base(paid: Subscriptions, now: int, late: int = 0) -> Decimal | None:
    """What growth is counted from: what was paid 12 months (365 d) and `late` days ago, else the first contract once it is
    settled."""
    since = known_since(paid)
    if since < 0 or now < since + SETTLED_IN_US:
        return None
    return recurring(paid, max(now - YEAR_US - late * DAY_US, since + SETTLED_IN_US))


def yearly_growth(paid: Subscriptions, now: int, late: int = 0) -> Decimal | None:
    """Change of what is paid over the 12 months (365 d) and `late` days to `now`, as a ratio minus one; None while it cannot
    be known."""
    current, before = recurring(paid, now), recurring(paid, now - YEAR_US - late * DAY_US)
    return current / before - 1 if current is not None and before else None


def years_of_growth(paid: Subscriptions, now: int) -> int:
    """How many years in a row, back from `now`, each ended with more paid than it began with."""
    years = 0
    while growth := yearly_growth(paid, now - years * YEAR_US):
        if growth <= 0:
            break
        years += 1
    return years
