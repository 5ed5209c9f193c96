"""Dead letters of ingest, translated again: a call that found no account finds one once the link is there.

Their bytes are a foreign call, not an event: sending them to a topic would be in vain. Nothing here reads a clock or sends.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

import msgspec

from services.common.dead_letters import Identity, Letter
from services.ingest import dead_letters, names
from services.ingest.mapping import Mapping
from services.ingest.names import Name, Names
from services.ingest.translate import Translation, Unparsable, segment, stripe, zendesk

UNATTRIBUTED: Final = "unattributed"
_NAMES: Final = msgspec.json.Decoder(list[Name])


def is_foreign(letter: Letter) -> bool:
    """Whether ingest wrote it."""
    return letter.identity.topic.startswith(dead_letters.SOURCE_TOPIC_PREFIX)


def translate(letter: Letter, mapping: Mapping, links: Names) -> Translation | str:
    """What the call comes to with what is known today, or why it cannot be told."""
    family = family_of(letter)
    try:
        received = msgspec.convert(letter.headers[dead_letters.RECEIVED_AT], dt.datetime)
        if family == stripe.SYSTEM:
            return stripe.translate(letter.value, received, links)
        if family == zendesk.SYSTEM:
            return zendesk.translate(letter.value, received, links)
        if family == "segment":
            kind = letter.headers[dead_letters.KIND]
            sent = segment.instant(letter.headers.get(dead_letters.SENT_AT))
            request = segment.Request(
                letter.headers[dead_letters.SOURCE], received, sent, kind if kind in segment.CALLS else ""
            )
            return segment.translate([letter.value], request, mapping, links)
    except (KeyError, msgspec.MsgspecError) as error:
        return f"its headers are not those of ingest: {error}"
    except Unparsable as error:
        return str(error)
    return f"family {family} cannot be translated again"


def family_of(letter: Letter) -> str:
    """The path that its call came by: segment, stripe or zendesk."""
    return letter.identity.topic.removeprefix(dead_letters.SOURCE_TOPIC_PREFIX)


def names_of(letter: Letter) -> list[Name]:
    """The names by which its account may be found; none where no link can help it."""
    if not is_foreign(letter) or letter.reason != UNATTRIBUTED:
        return []
    try:
        found = _NAMES.decode(letter.headers[dead_letters.NAMES])
    except (KeyError, msgspec.MsgspecError):
        return []
    # A user may be linked as another system's id too, where the system is the source.
    return found + [names.external(name.space, name.id) for name in found if name.kind == "user"]


class Waiting:
    """Letters that wait for a link, oldest first, within `most_bytes` of calls. Past that the oldest are let go of."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._letters: OrderedDict[Identity, tuple[Letter, list[Name]]] = OrderedDict()
        self._by_name: dict[Name, dict[Identity, None]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._letters)

    def add(self, letter: Letter) -> int:
        """Keep a letter, once by its identity. Returns how many were let go of to make room."""
        wanted = names_of(letter)
        if not wanted or letter.identity in self._letters:
            return 0
        self._letters[letter.identity] = letter, wanted
        for name in wanted:
            self._by_name.setdefault(name, {})[letter.identity] = None
        self._bytes += _size(letter)
        let_go = 0
        while self._bytes > self._most_bytes:
            self.remove(next(iter(self._letters)))
            let_go += 1
        return let_go

    def remove(self, identity: Identity) -> None:
        """Forget a letter that waits no more."""
        letter, wanted = self._letters.pop(identity)
        self._bytes -= _size(letter)
        for name in wanted:
            held = self._by_name[name]
            del held[identity]
            if not held:
                del self._by_name[name]

    def due(self, known: Names) -> Iterator[Letter]:
        """The letters of every name that has a link, each name's in their order. Do not change this while reading."""
        seen: set[Identity] = set()
        for name, held in self._by_name.items():
            if known.get(name) is not None:
                for identity in held:
                    if identity not in seen:
                        seen.add(identity)
                        yield self._letters[identity][0]


def _size(letter: Letter) -> int:
    """About what a letter takes in memory."""
    return len(letter.value) + 1500


def outcome(letter: Letter, mapping: Mapping, known: Names) -> Translation | str:
    """What a letter that found its account comes to, or why it still makes no event."""
    made = translate(letter, mapping, known)
    if isinstance(made, str) or not made.unusable:
        return made
    return f"{made.unusable[0].reason}: {made.unusable[0].detail}"
