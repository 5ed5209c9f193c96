"""The chunked runtime: the consumer's loop is replaced, whole lists of aiokafka records are taken from each fetch.

The fast way, and the default. It rests on private attributes of faust and aiokafka, all of them in this file;
tests/contract/test_runtime_contract.py holds them, docs/decisions/0003-chunked-source.md says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from faust.events import Event as FaustEvent
from faust.types import TP

from services.signals.runtime.source import PAUSED_POLL_S, InputConsumer, Token

FETCH_WAIT_MS: Final = 100
"""How long the broker may hold an empty fetch. Faust's 1,500 would be waited out by every resumed partition."""


class ChunkedConsumer(InputConsumer):
    """A drain loop of its own for the input topics, a fast one for the changelog, and commits by position."""

    def _book(self) -> None:
        super()._book()
        self._done: dict[TP, int] = {}

    def _reset(self) -> None:
        super()._reset()
        self._done.clear()

    @property
    def _engine_app(self) -> Any:
        """The app, untyped: Faust's interfaces leave out most of what is used here."""
        return self.app

    @property
    def _aiokafka(self) -> Any:
        """aiokafka's consumer, which lives in a thread of its own; None before it was started."""
        return self._thread._consumer

    def _state_of(self, tp: TP) -> Any:
        """aiokafka's state of an assigned partition: position and high water mark."""
        try:
            return self._aiokafka._subscription.subscription.assignment.state_value(tp)
        except (AttributeError, KeyError):
            return None

    def _mark(self, tp: TP) -> int | None:
        state = self._state_of(tp)
        return None if state is None else state.highwater

    async def _positions(self, own: list[TP]) -> Mapping[TP, int]:
        states = ((tp, self._state_of(tp)) for tp in own)
        return {tp: state.position for tp, state in states if state is not None and state.has_valid_position}

    # -- commits: the applied position, where Faust would look for a prefix of single acknowledgements ---------------

    def _commit_to(self, tp: TP, next_offset: int) -> None:
        self._done[tp] = next_offset

    def finish(self, token: Token) -> None:
        """See `InputConsumer.finish`. Whoever waits for it is told at once."""
        super().finish(token)
        waiter = self._waiting_for_ack
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._done) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self._done.pop(tp, None)

    # -- the drain loop -------------------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        app = self.app
        stopped, fetcher_stopped = self._stopped.is_set, fetcher._stopped.is_set
        try:
            while not (stopped() or fetcher_stopped()):
                calm = self._calm()
                if calm:
                    await self._wind_back()
                generation, epoch = app.consumer_generation_id, self.epoch
                records, active = await self._fetch(calm)
                await asyncio.sleep(0)
                if self.should_stop:
                    continue
                for tp, fetched in (records or {}).items():
                    if not fetched:
                        continue
                    if not self._is_input(tp):
                        if tp in active or tp in self._buffered_partitions:
                            await app.flow_control.acquire()
                            await self._changelog(tp, fetched)
                    elif self._fresh(calm, generation, epoch):
                        self._accept(TP(tp.topic, tp.partition), fetched)
                    else:
                        self._refuse(TP(tp.topic, tp.partition), fetched)
        except self.consumer_stopped_errors:
            if not app.should_stop:
                raise
        except asyncio.CancelledError:
            if not app.should_stop:
                raise

    async def _fetch(self, calm: bool) -> tuple[Any, set[TP]]:
        """One stock fetch from the partitions that are not paused."""
        if self._aiokafka is not None:
            self._aiokafka._fetcher._fetch_max_wait_ms = FETCH_WAIT_MS
        active = self._get_active_partitions()
        if self._paused and not active and calm:
            await asyncio.sleep(PAUSED_POLL_S)  # the stock loop sleeps a second when all are paused
            return {}, active
        records, _ = await self._wait_next_records(PAUSED_POLL_S if self._paused else 1.0)
        return records, active

    # -- the changelog: recovery ------------------------------------------------------------------------------------

    async def _changelog(self, tp: TP, records: list[Any]) -> None:
        """All but the last record go straight into the table; the last one the stock way, which ends the recovery."""
        recovery = self._engine_app.tables.recovery
        table = recovery.tp_to_table.get(tp)
        if table is not None and tp in recovery.active_tps and recovery.in_recovery:
            if recovery.buffers.get(table):
                recovery.flush_buffers()
            seen = recovery.active_offsets.get(tp)
            head = [record for record in records[:-1] if seen is None or record.offset > seen]
            if head:
                table.apply_records(tp.partition, head)
                recovery.active_offsets[tp] = head[-1].offset
            records = records[-1:]
        channels = list(self._engine_app.topics._tp_index.get(tp) or ())
        for record in records:
            message = self._to_message(tp, record)
            message.refcount = len(channels)
            for channel in channels:
                event = FaustEvent(self.app, message.key, message.value, message.headers, message)
                while channel.queue.full() and self.flow_active:  # noqa: ASYNC110  # the queue has no event for room
                    await asyncio.sleep(0.001)
                channel.queue.force_put_nowait(event)
        await asyncio.sleep(0)
