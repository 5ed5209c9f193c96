"""`/v1/queue`: what is open, in the order in which to work on it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from schemas.lifecycle import Status
from schemas.priority import Part
from services.api import handled, priority, queries, queue_answers, queue_queries
from services.api.answers import answer, page
from services.api.auth import require
from services.api.database import Connection
from services.api.parameters import HIDDEN, QueueFilter
from services.api.queries import AccountRecord, SignalRecord
from services.api.queue_queries import Open, Place, Wanted
from services.common.keys import Key

router = APIRouter(prefix="/v1/queue", tags=["queue"], dependencies=[Depends(require("read"))])

Reader = Annotated[Key, Depends(require("read"))]
SIGNALS_SHOWN: Final = 20
FEATURE_USED: Final = "usage.feature_used"


@router.get("", responses={200: {"model": queue_answers.QueuePage}})
async def get_queue(request: Request, wanted: Annotated[QueueFilter, Query()], key: Reader) -> Response:
    """Accounts with open signals, highest rank first, each once; or every open signal with `by=signal`.

    What is snoozed or closed is left out unless `include` or `status` asks for it; `hidden` says how many.
    """
    async with Connection(request) as connection:
        asked = await wanted_of(connection, wanted, key.actor)
        found, cursor = await queue_queries.places(connection, asked, wanted, f"queue by {wanted.by}")
        alone = not asked.by_account
        ids = [place.account_id for place in found]
        lines = await Lines.read(connection, ids, signals_shown=0 if alone else SIGNALS_SHOWN, statuses=asked.statuses)
        tops = await lines.tops(connection, found)
        hidden = await queue_queries.hidden(connection, asked, wanted) if wanted.cursor is None else None
    items = [lines.place(place, tops[place.episode_id], alone=alone) for place in found]
    return answer(page(items, cursor) | {"hidden": hidden})


async def wanted_of(connection: AsyncConnection, wanted: QueueFilter, me: str) -> Wanted:
    """What a request of the queue asks for. `me`: who asks."""
    assignee = None if wanted.assignee is None else handled.person(wanted.assignee, me)
    owner = None if wanted.owner is None else await handled.owner(connection, handled.person(wanted.owner, me))
    return Wanted(
        signals=() if wanted.signal is None else (wanted.signal,),
        kind=wanted.kind,
        severity=wanted.severity,
        family=wanted.family,
        by_account=wanted.by == "account",
        statuses=wanted.status | wanted.include,
        assigned=wanted.assignee is not None,
        assignee=assignee,
        owner=owner,
    )


class Lines:
    """What is shown of accounts in a list of work, read once for a page."""

    def __init__(
        self,
        accounts: dict[str, AccountRecord],
        open_at: dict[str, Open],
        signals: dict[str, list[tuple[SignalRecord, Decimal]]],
        left_out: tuple[Status, ...],
    ) -> None:
        self._accounts = accounts
        self._open = open_at
        self._left_out = left_out
        self.signals = signals

    @classmethod
    async def read(
        cls,
        connection: AsyncConnection,
        account_ids: Sequence[str],
        *,
        signals_shown: int,
        statuses: frozenset[Status] = handled.WORK,
    ) -> Lines:
        """Accounts with their highest signals that are open, acknowledged or as in `statuses`, so many of each."""
        beside = statuses | handled.WORK
        ids = list(dict.fromkeys(account_ids))
        signals: dict[str, list[tuple[SignalRecord, Decimal]]] = {account_id: [] for account_id in ids}
        if ids and signals_shown:
            for signal, rank in await queries.ranked_signals(connection, ids, signals_shown, beside):
                signals[signal.episode.account_id].append((signal, rank))
        accounts = await queries.accounts_by_id(connection, ids) if ids else {}
        open_at = await queue_queries.open_at(connection, ids) if ids else {}
        return cls(accounts, open_at, signals, tuple(status for status in HIDDEN if status not in beside))

    async def tops(self, connection: AsyncConnection, places: Sequence[Place]) -> dict[str, SignalRecord]:
        """The signals that give accounts their places; few are not among those shown."""
        shown = {signal.episode.episode_id: signal for entries in self.signals.values() for signal, _ in entries}
        missing = [place.episode_id for place in places if place.episode_id not in shown]
        return shown | (await queries.signals_by_id(connection, missing) if missing else {})

    def of(self, account_id: str) -> dict[str, Any]:
        """What every line has, whatever its place."""
        account, at = self._accounts.get(account_id), self._open[account_id]
        return {
            "account": queue_answers.queued_account(account_id, account),
            "as_of": None if account is None else account.health.as_of.date(),
            "open_counts": at.counts,
            "hidden": {status: at.statuses[status] for status in self._left_out},
            "signals": [queue_answers.queued_signal(*entry) for entry in self.signals[account_id]],
        }

    def place(self, place: Place, top: SignalRecord, *, alone: bool = False) -> dict[str, Any]:
        """A `QueueItem`. `alone`: with no other signal than the one that gives it its place."""
        parts = priority.parts(self._accounts.get(place.account_id), top, self._open[place.account_id].judged)
        found = self.of(place.account_id) | {
            "rank": float(place.rank),
            "parts": queue_answers.parts_shown(parts),
            "because": place.episode_id,
        }
        return found | {"signals": [queue_answers.queued_signal(top, place.rank)]} if alone else found

    def weight(self, account_id: str) -> list[Part]:
        """The parts of every rank of the account."""
        return priority.weight(self._accounts.get(account_id))

    def usage_seen(self, account_id: str) -> bool:
        """Whether the account ever sent the use of a feature."""
        account = self._accounts.get(account_id)
        return account is not None and FEATURE_USED in account.health.inputs_seen
