"""Sending dead letters again: each once unless it is wanted again, written down before the first is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.events import INPUT_TOPICS
from services.common import dead_letters, kafka
from services.common.dead_letters import Identity, Letter
from services.common.settings import Settings

FOREIGN: Final = "a call to ingest: `ebbtide dead-letters replay` translates it anew"

SendArguments = dict[str, Any]
"""What a producer's `send` takes: topic, key, value, and the partition where there is no key."""


class Prepared(NamedTuple):
    """The records to send for each letter, and how often each reason makes none."""

    ready: list[tuple[Letter, list[SendArguments]]]
    why: Counter[str]


Prepare = Callable[[Sequence[Letter]], Awaitable[Prepared]]
"""Letters to records. What ingest refused is a foreign call that must be translated anew, which only ingest's code can."""


class Done(NamedTuple):
    """What became of a replay. `sent` says where the records of each letter stand now.

    `refused` are calls to ingest that still make no event, `why` counts their reasons. `taken` were sent by somebody
    else meanwhile.
    """

    sent: dict[Identity, list[Identity]]
    taken: int
    refused: int
    why: Counter[str]


def as_it_was(letter: Letter) -> SendArguments:
    """The record that was refused: bytes and key untouched, to where it came from."""
    place = letter.identity
    # Without a key it was meant for its partition; with one, the key finds the right one.
    partition = {"partition": place.partition} if letter.key is None else {}
    return {"topic": place.topic, "key": letter.key, "value": letter.value, **partition}


async def as_they_were(letters: Sequence[Letter]) -> Prepared:
    """Every record as it was refused; of calls to ingest, whose code is not at hand here, none."""
    own = [letter for letter in letters if letter.identity.topic in INPUT_TOPICS]
    why = Counter({FOREIGN: len(letters) - len(own)}) if len(own) < len(letters) else Counter[str]()
    return Prepared([(letter, [as_it_was(letter)]) for letter in own], why)


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
    sent: dict[Identity, list[Identity]] = {identity: [] for identity in mine}
    for identity, kept in sending:
        found = kept.result()
        sent[identity].append(Identity(found.topic, found.partition, found.offset))
    return Done(sent, len(ready) - len(mine), refused, why)
