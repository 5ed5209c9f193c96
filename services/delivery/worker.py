"""One endpoint's worker: one message at a time, in the order of the feed; one that fails holds those behind it.

The effects of a message, in order: (1) it is sent; (2) what came of it is recorded, with the cursor, in one transaction;
(3) the next one is looked for. A crash after (1) sends the same message again under the same id; nothing else is lost or
repeated. What waits to be tried again stands in the log, so a restart goes on where the schedule was.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from collections import deque
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from schemas.webhooks import TEST_TYPE
from services.common import metrics
from services.delivery import messages, signing
from services.delivery.filters import wants
from services.delivery.ledger import Endpoint, Ledger, Pending, Sent, feed_message_id
from services.delivery.schedule import Outcome, Verdict, verdict
from services.delivery.sender import Clock, Sender

log = structlog.get_logger()

SCANNED_AT_ONCE: Final = 500
# A clock that is set forward is noticed within this time.
LONGEST_WAIT_S: Final = 30.0
LAST_ID: Final = 2**63 - 1


class Ready(Struct, frozen=True):
    """A message that is to be sent now."""

    sent: Sent
    body: bytes


class Worker:
    """Sends to one endpoint until it is retired or the endpoint is disabled."""

    def __init__(self, endpoint: Endpoint, ledger: Ledger, sender: Sender, *, clock: Clock, console_url: str) -> None:
        self.revision = endpoint.revision
        self._endpoint = endpoint
        self._changed: Endpoint | None = None
        self._ledger = ledger
        self._sender = sender
        self._clock = clock
        self._console_url = console_url
        self._woken = asyncio.Event()
        self._retired = False
        self._cursor = endpoint.cursor
        self._failing_since = endpoint.failing_since
        self._ahead: deque[int] = deque()
        self._scanned = endpoint.cursor
        self._look_at_log = True

    def wake(self) -> None:
        """There may be something new in the feed."""
        self._woken.set()

    def change(self, endpoint: Endpoint) -> None:
        """Somebody changed the endpoint, or asked something of it."""
        self.revision = endpoint.revision
        self._changed = endpoint
        self._woken.set()

    def retire(self) -> None:
        """End after the message in hand."""
        self._retired = True
        self._woken.set()

    async def run(self) -> None:
        """Send whatever there is, and wait for more."""
        while not self._retired:
            self._woken.clear()
            if self._changed is not None:
                self._endpoint, self._changed = self._changed, None
                # What was read of it may be older than what was recorded since.
                self._cursor = max(self._cursor, self._endpoint.cursor)
                self._forget_ahead()
            found = await self._next()
            if not isinstance(found, Ready):
                await self._wait(found)
            elif not self._retired:
                await self._deliver(found)

    async def _wait(self, until: dt.datetime | None) -> None:
        seconds = LONGEST_WAIT_S
        if until is not None:
            seconds = min(seconds, max((until - self._clock()).total_seconds(), 0))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    async def _next(self) -> Ready | dt.datetime | None:
        """What is to be sent now; else when to look again, or None: when there is something new."""
        if self._look_at_log:
            self._look_at_log = False
            found = await self._asked_for()
            if found is not None:
                self._look_at_log = True
                return found
        return await self._new()

    async def _asked_for(self) -> Ready | dt.datetime | None:
        """What is in the log and has yet to arrive, then what is asked for again."""
        while (pending := await self._ledger.pending(self._endpoint.webhook_id)) is not None:
            if pending.state == "retrying" and pending.next_at is not None and pending.next_at > self._clock():
                return pending.next_at
            if (ready := await self._of_log(pending)) is not None:
                return ready
            await self._ledger.withdraw(pending.delivery_id, self._clock())
            metrics.WEBHOOK_MESSAGES.labels("withdrawn").inc()
        while (replay := await self._ledger.replay(self._endpoint.webhook_id)) is not None:
            found = await self._ledger.scan(replay.next_id - 1, replay.until_id, SCANNED_AT_ONCE)
            wanted = next((feed_id for feed_id, facets in found if wants(self._endpoint.filters, facets)), None)
            if wanted is not None and (ready := await self._of_feed(wanted, replay_id=replay.replay_id)) is not None:
                return ready
            last = wanted if wanted is not None else found[-1][0] if found else replay.until_id
            await self._ledger.advance_replay(replay, last + 1)
        return None

    async def _new(self) -> Ready | None:
        """The next entry of the feed that is new to the endpoint, and that it asked for."""
        while True:
            while self._ahead:
                if (ready := await self._of_feed(self._ahead[0])) is not None:
                    return ready
                self._ahead.popleft()
            await self._advance_to(self._scanned)
            found = await self._ledger.scan(self._scanned, LAST_ID, SCANNED_AT_ONCE)
            if not found:
                return None
            self._ahead.extend(feed_id for feed_id, facets in found if wants(self._endpoint.filters, facets))
            self._scanned = found[-1][0]

    async def _advance_to(self, cursor: int) -> None:
        if cursor > self._cursor:
            await self._ledger.advance(self._endpoint.webhook_id, cursor)
            self._cursor = cursor

    def _forget_ahead(self) -> None:
        self._ahead.clear()
        self._scanned = self._cursor
        self._look_at_log = True

    async def _of_feed(self, feed_id: int, *, replay_id: int | None = None) -> Ready | None:
        entry = await self._ledger.entry(feed_id)
        if entry is None:
            return None
        sent = Sent(
            message_id=feed_message_id(self._endpoint.webhook_id, feed_id),
            type=entry[0],
            tries=1,
            feed_id=feed_id,
            replay_id=replay_id,
        )
        return Ready(sent, self._body(*entry))

    async def _of_log(self, pending: Pending) -> Ready | None:
        if pending.feed_id is not None:
            ready = await self._of_feed(pending.feed_id)
            body = None if ready is None else ready.body
        else:
            data = msgspec.json.decode(pending.body or "{}")
            body = messages.of_endpoint(pending.type, pending.created_at, data, self._endpoint.format)
        if body is None:
            return None
        sent = Sent(
            message_id=pending.message_id,
            type=pending.type,
            tries=pending.tries + 1,
            feed_id=pending.feed_id,
            delivery_id=pending.delivery_id,
        )
        return Ready(sent, body)

    def _body(self, type_: str, event: str) -> bytes:
        if self._endpoint.format == "slack":
            return messages.slack(type_, event, self._console_url)
        return messages.standard(type_, event)

    async def _deliver(self, ready: Ready) -> None:
        endpoint, sent, now = self._endpoint, ready.sent, self._clock()
        signed = signing.headers(endpoint.secrets(now), sent.message_id, int(now.timestamp()), ready.body)
        outcome = await self._sender.send(endpoint.url, signed, ready.body)
        judged = self._judge(sent, outcome)
        disabled = await self._ledger.record(endpoint.webhook_id, sent, outcome, judged)
        self._count(outcome, judged)
        self._failing_since = judged.failing_since
        if disabled:
            self._retired = True
            metrics.WEBHOOK_DISABLED.labels(judged.disable).inc()
            log.error(
                "a webhook is disabled: see to the receiver, then enable it again",
                webhook=endpoint.webhook_id,
                because=judged.disable,
                failing_since=str(judged.failing_since),
                problem=outcome.error or f"status {outcome.status}",
            )
        if sent.type == TEST_TYPE and outcome.arrived:
            await self._ledger.hurry(endpoint.webhook_id, self._clock())
        if sent.feed_id is not None and judged.state != "retrying":
            self._cursor = max(self._cursor, sent.feed_id)
        if self._ahead and self._ahead[0] == sent.feed_id and judged.state != "retrying":
            self._ahead.popleft()
        elif sent.delivery_id is not None or judged.state == "retrying":
            self._forget_ahead()

    def _judge(self, sent: Sent, outcome: Outcome) -> Verdict:
        """A test is sent once, and only its success says something of the endpoint."""
        if sent.type != TEST_TYPE:
            return verdict(outcome, sent.tries, self._failing_since, random.random())
        if outcome.arrived:
            return Verdict(state="delivered")
        return Verdict(state="failed", failing_since=self._failing_since)

    def _count(self, outcome: Outcome, judged: Verdict) -> None:
        metrics.WEBHOOK_ATTEMPTS.labels(outcome.kind).inc()
        metrics.WEBHOOK_SECONDS.observe(outcome.seconds)
        if judged.state != "retrying":
            metrics.WEBHOOK_MESSAGES.labels(judged.state).inc()
        if not outcome.arrived:
            log.info(
                "a webhook's receiver did not take a message",
                webhook=self._endpoint.webhook_id,
                problem=outcome.error or f"status {outcome.status}",
                next_at=str(judged.next_at),
            )
