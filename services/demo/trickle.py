"""A trickle of live events, sent by the Segment SDK for Python as a product would send them, through ingest."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segment.analytics.client import Client

from services.common.addresses import base_urls
from services.common.settings import Settings

PAUSE_S = 1.0
CALLS_AT_ONCE = 3
TELL_EVERY_S = 60.0
COMPLAIN_EVERY_S = 15.0
REQUEST_TIMEOUT_S = 5
FLUSH_WITHIN_S = 2.0
LOGIN_SHARE = 0.002
"""A few logins a day and user: with more, a demo that is left on for a weekend calls every one of them a power user."""
FEATURES = ("planning", "forecast", "dashboards", "export", "comments", "search")


@dataclass(frozen=True)
class Cast:
    """A customer that takes part, and its people."""

    account: str
    users: Sequence[str]


def trickle(
    settings: Settings, write_key: str, cast: Sequence[Cast], say: Callable[[str], None], stop: threading.Event
) -> int:
    """Send a few calls a second for the customers in `cast` until `stop` is set. Returns how many were made.

    The SDK sends in the background and repeats what ingest did not take; what it gives up is told by `say`.
    """
    problems = _Problems(say)
    # The SDK logs each of its own retries: one line from here says as much.
    logging.getLogger("segment").setLevel(logging.CRITICAL)
    client = Client(
        write_key, host=base_urls(settings)["ingest"], on_error=problems.tell, timeout=REQUEST_TIMEOUT_S, max_retries=10
    )
    rng = random.Random()
    known: set[str] = set()
    calls = 0
    told = time.monotonic()
    say(f"live events of {len(cast)} customers are on their way through {base_urls(settings)['ingest']}")
    try:
        while not stop.wait(PAUSE_S):
            for _ in range(rng.randint(1, CALLS_AT_ONCE)):
                customer = rng.choice(cast)
                calls += _call(client, customer.account, rng.choice(customer.users), known, rng)
            if time.monotonic() - told >= TELL_EVERY_S:
                told = time.monotonic()
                say(f"{calls:,} live events sent so far")
    finally:
        _end(client)
    return calls


def _call(client: Client, account: str, user: str, known: set[str], rng: random.Random) -> int:
    """One thing that a user does. The first time, the product says who that is and of which customer."""
    calls = 1
    if user not in known:
        known.add(user)
        client.identify(user, {"plan": "demo"})
        client.group(user, account, {"stage": "live"})
        calls += 2
    chance = rng.random()
    if chance < 0.6:
        client.track(user, rng.choice(FEATURES))
    elif chance < 1 - LOGIN_SHARE:
        client.page(user, name=rng.choice(("/home", "/plans", "/reports", "/settings")))
    else:
        client.track(user, "Logged In")
    return calls


def _end(client: Client) -> None:
    """Send what is queued, but never wait long for an ingest that is gone."""
    deadline = time.monotonic() + FLUSH_WITHIN_S
    while client.queue.unfinished_tasks and time.monotonic() < deadline:
        time.sleep(0.05)
    for consumer in client.consumers:
        consumer.pause()
        with contextlib.suppress(RuntimeError):
            consumer.join(REQUEST_TIMEOUT_S)


class _Problems:
    """Tells what the SDK gave up, not more often than people can read."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told = float("-inf")

    def tell(self, error: Exception, items: Sequence[object]) -> None:
        now = time.monotonic()
        if now - self._told >= COMPLAIN_EVERY_S:
            self._told = now
            self._say(f"ingest did not take {len(items)} live events: {error}")
