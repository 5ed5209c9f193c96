"""What one attempt comes to: arrived, tried again when, given up, or the endpoint is disabled. Pure."""

from __future__ import annotations

import datetime as dt
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Literal

from msgspec import Struct

DELAYS: Final = tuple(
    dt.timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""Standard Webhooks 1.0: the first attempt is made at once, each of these is waited before another."""

JITTER: Final = 0.1
LONGEST_RETRY_AFTER: Final = dt.timedelta(hours=24)
FAILING_FOR: Final = dt.timedelta(days=5)
ASKS_TO_WAIT: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

Because = Literal["gone", "failing"]


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of one attempt. `status` is None where there was no answer; `error` then says why, in words."""

    at: dt.datetime
    seconds: float
    status: int | None = None
    error: str | None = None
    retry_after: str | None = None
    excerpt: str | None = None

    @property
    def arrived(self) -> bool:
        """Whether the receiver has taken it: any 2xx."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def kind(self) -> str:
        """For counting: delivered, refused (an answer that is not 2xx), or unreachable (none at all)."""
        if self.arrived:
            return "delivered"
        return "unreachable" if self.status is None else "refused"


class Verdict(Struct, frozen=True, kw_only=True):
    """What becomes of the message and its endpoint.

    `next_at`: tried again then. `failing_since`: of the endpoint, None when it is well. `disable`: why it is disabled
    now; its message then waits until somebody enables it again.
    """

    state: Literal["delivered", "retrying", "failed"]
    next_at: dt.datetime | None = None
    failing_since: dt.datetime | None = None
    disable: Because | None = None


def verdict(outcome: Outcome, tries: int, failing_since: dt.datetime | None, chance: float) -> Verdict:
    """Judge the attempt that was number `tries` (from 1) of its run. `chance` is uniform in [0, 1)."""
    if outcome.arrived:
        return Verdict(state="delivered")
    since = failing_since or outcome.at
    if outcome.status == HTTPStatus.GONE:
        return Verdict(state="retrying", next_at=outcome.at, failing_since=since, disable="gone")
    disable: Because | None = "failing" if outcome.at - since >= FAILING_FOR else None
    if tries > len(DELAYS):
        return Verdict(state="failed", failing_since=since, disable=disable)
    delay = DELAYS[tries - 1] * (1 - JITTER + 2 * JITTER * chance)
    if outcome.status in ASKS_TO_WAIT and outcome.retry_after is not None:
        delay = max(delay, min(asked_delay(outcome.retry_after, outcome.at), LONGEST_RETRY_AFTER))
    return Verdict(state="retrying", next_at=outcome.at + delay, failing_since=since, disable=disable)


def asked_delay(retry_after: str, now: dt.datetime) -> dt.timedelta:
    """How long a `Retry-After` asks to wait: seconds, or a date. Nothing where it says neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return dt.timedelta(seconds=min(int(text[:9]), 10**8))
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return dt.timedelta()
    if date.tzinfo is None:
        date = date.replace(tzinfo=dt.UTC)
    return max(date - now, dt.timedelta())
