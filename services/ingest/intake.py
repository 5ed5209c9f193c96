"""What every path ends in: events, links and dead letters to Kafka, and an answer that says what was acknowledged."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from schemas.events import EVENT_TYPES
from services.common import metrics
from services.ingest import attribution, dead_letters, names
from services.ingest.answers import unavailable
from services.ingest.attribution import Attribution
from services.ingest.collector import Collector, Record
from services.ingest.names import Link, Name
from services.ingest.translate import Ready, Translation
from services.ingest.translate.cloudevents import Rejected

_LINKED: Final = EVENT_TYPES["account.linked"].event
_ERASED: Final = EVENT_TYPES["account.erased"].event
NOT_ACKNOWLEDGED: Final = "Kafka did not acknowledge it in time; send it again with the same id"


class Result(Struct):
    """What became of one event, as /v1/events tells it. `reason` and `field` are null unless it was rejected."""

    id: str
    status: str
    reason: str | None = None
    field: str | None = None
    detail: str | None = None


class Intake:
    """Binds the collector and the attribution. It decides nothing about an event."""

    def __init__(self, collector: Collector, known: Attribution) -> None:
        self._collector = collector
        self._attribution = known

    async def translate_known(self, translate: Callable[[Attribution], Translation]) -> Translation:
        """Translate with the links known here; what found no account is tried again with what others wrote by now."""
        result = translate(self._attribution)
        if any(item.names for item in result.unusable) and await self._attribution.catch_up():
            result = translate(self._attribution)
        return result

    async def keep(
        self,
        translation: Translation,
        family: str,
        source: str,
        received_at: dt.datetime,
        sent_at: dt.datetime | None = None,
    ) -> None:
        """Produce all that a translation holds. Returns when all of it is acknowledged, raises Refused 503 otherwise.

        The whole request is then sent again by its client; ids make what was acknowledged already harmless.
        """
        changes: dict[Name, Link | None] = dict(translation.links)
        changes |= self._changes(translation.ready)
        records = [record_of(ready) for ready in translation.ready]
        records += [dead_letters.record(item, family, source, received_at, sent_at) for item in translation.unusable]
        records += [attribution.record(name, link) for name, link in changes.items()]
        if not all(await self._collector.send(records)):
            metrics.INGEST_EVENTS.labels(family, "retry", "").inc(len(translation.ready) + len(translation.unusable))
            raise unavailable(NOT_ACKNOWLEDGED)
        self._attribution.learn(changes)
        metrics.INGEST_EVENTS.labels(family, "accepted", "").inc(len(translation.ready))
        metrics.INGEST_EVENTS.labels(family, "ignored", "").inc(translation.ignored)
        for item in translation.unusable:
            metrics.INGEST_EVENTS.labels(family, "dead_letter", item.reason).inc()

    async def keep_each(self, outcomes: Sequence[Ready | Rejected], family: str) -> list[Result]:
        """Produce the ready ones, each with a result of its own, in order. Raises Refused 503 if none was acknowledged."""
        ready = [outcome for outcome in outcomes if isinstance(outcome, Ready)]
        changes = self._changes(ready)
        records = [record_of(each) for each in ready]
        acknowledged = await self._collector.send(
            records + [attribution.record(name, link) for name, link in changes.items()]
        )
        linked = dict(zip(changes.items(), acknowledged[len(ready) :], strict=True))
        self._attribution.learn([change for change, done in linked.items() if done])
        # An event that links names is accepted when its links are kept too.
        unlinked = {name for (name, _), done in linked.items() if not done}
        if ready and not any(acknowledged[: len(ready)]):
            metrics.INGEST_EVENTS.labels(family, "retry", "").inc(len(ready))
            raise unavailable(NOT_ACKNOWLEDGED)
        results: list[Result] = []
        answers = iter(acknowledged)
        accepted = 0
        others: Counter[tuple[str, str]] = Counter()
        for outcome in outcomes:
            if isinstance(outcome, Rejected):
                refusal = outcome.refusal
                results.append(Result(outcome.id, "rejected", refusal.reason, refusal.field, refusal.detail))
                others["rejected", refusal.reason] += 1
            elif next(answers) and not (unlinked and unlinked.intersection(self._changes([outcome]))):
                results.append(Result(outcome.event.id, "accepted"))
                accepted += 1
            else:
                results.append(Result(outcome.event.id, "retry", None, None, NOT_ACKNOWLEDGED))
                others["retry", ""] += 1
        metrics.INGEST_EVENTS.labels(family, "accepted", "").inc(accepted)
        for (status, reason), count in others.items():
            metrics.INGEST_EVENTS.labels(family, status, reason).inc(count)
        return results

    def _changes(self, ready: Sequence[Ready]) -> dict[Name, Link | None]:
        """The links that account.linked makes and account.erased withdraws."""
        changes: dict[Name, Link | None] = {}
        for each in ready:
            event = each.event
            if event.subject is None:
                continue
            if event.__class__ is _LINKED:
                name = names.external(event.data.system, event.data.external_id)
                changes[name] = Link(event.subject, event.time_us, names.LINKED)
            elif event.__class__ is _ERASED:
                gone = [name for name, link in changes.items() if link is not None and link.account == event.subject]
                changes |= dict.fromkeys((*self._attribution.names_of(event.subject), *gone))
        return changes


def record_of(ready: Ready) -> Record:
    """The record of an event: keyed by its account."""
    subject = ready.event.subject
    return Record(ready.topic, None if subject is None else subject.encode(), ready.value)
