"""Sending dead letters again: each once unless it is wanted again, written down before the first is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import dead_letters, kafka
from services.common.dead_letters import Identity, Letter
from services.common.settings import Settings

SendArguments = dict[str, Any]
"""What a producer's `send` takes: topic, key, value, and the partition where there is no key."""


class Prepared(NamedTuple):
    """The records to send for each letter, and how often each reason makes none."""

    ready: list[tuple[Letter, list[SendArguments]]]
    why: Counter[str]


Prepare = Callable[[Sequence[Letter]], Awaitable[Prepared]]
"""Letters to records. What ingest refused is a foreign call that must be translated anew, which only ingest's code can."""


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int


class Done(NamedTuple):
    """What became of a replay. `sent` names where the records of each letter stand now.

    `refused` are calls to ingest that still make no event, `why` counts their reasons. `taken` were sent by somebody
    else meanwhile.
    """

    sent: dict[Identity, list[Place]]
    taken: int
    refused: int
    why: Counter[str]


def as_it_was(letter: Letter) -> SendArguments:
    """The record that was refused: bytes and key untouched, to where it came from."""
    place = letter.identity
    # Without a key it was meant for its partition; with one, the key finds the right one.
    partition = {"partition": place.partition} if letter.key is None else {}
    return {"topic": place.topic, "key": letter.key, "value": letter.value, **partition}


async def send_again(
    settings: Settings, engine: AsyncEngine, letters: Sequence[Letter], prepare: Prepare, *, again: bool = False
) -> Done:
    """Send `letters` to their source topics. Without `again` those go that nobody sent before, also not just now.

    Raises BrokerUnreachable, KafkaError where a send is not acknowledged (it stays "begun"), and what the database does.
    """
    ready, why = await prepare(letters)
    refused = sum(why.values())
    if not ready:
        return Done({}, 0, refused, why)
    producer = await kafka.producer(settings)
    try:
        identities = [letter.identity for letter, _ in ready]
        if again:
            await dead_letters.begin(engine, identities)
            mine = set(identities)
        else:
            mine = await dead_letters.claim(engine, identities)
        sending = [
            (letter.identity, await producer.send(**record))
            for letter, records in ready
            if letter.identity in mine
            for record in records
        ]
        await asyncio.gather(*(kept for _, kept in sending))
    finally:
        await producer.stop()
    await dead_letters.finish(engine, mine)
    sent: dict[Identity, list[Place]] = {identity: [] for identity in mine}
    for identity, kept in sending:
        found = kept.result()
        sent[identity].append(Place(found.topic, found.partition, found.offset))
    return Done(sent, len(ready) - len(mine), refused, why)
