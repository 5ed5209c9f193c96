"""Names that belong to an account: a user of a source, an anonymous visitor of a source, another system's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from msgspec import Struct

GROUP = "group"
CONTEXT = "context"
LINKED = "linked"


class Name(NamedTuple):
    """`kind` is user, anonymous or external; `space` the source, or the other system; `id` the id there."""

    kind: str
    space: str
    id: str


class Link(Struct, frozen=True):
    """A name belongs to `account` since `at_us` (µs since 1970), by a `group` call, a call's context or account.linked."""

    account: str
    at_us: int
    by: str

    def yields_to(self, other: Link) -> bool:
        """Whether `other` replaces this. A call's context never overrules a `group`; an older word never a newer one."""
        if other.by == CONTEXT and self.by != CONTEXT:
            return False
        return other.at_us >= self.at_us or (self.by == CONTEXT and other.by != CONTEXT)


class Names(Protocol):
    """Read access to all links."""

    def get(self, name: Name) -> Link | None:
        """The link of `name`, or None."""


class Overlay:
    """Links made while one request is translated, on top of those that are known."""

    def __init__(self, below: Names | Mapping[Name, Link]) -> None:
        self._below = below
        self.made: dict[Name, Link] = {}

    def get(self, name: Name) -> Link | None:
        """The link of `name`, made here or below."""
        return self.made.get(name) or self._below.get(name)

    def put(self, name: Name, link: Link) -> None:
        """Make a link, unless a better one is there or it says nothing new."""
        known = self.get(name)
        if known is not None and known.account == link.account and (link.by == CONTEXT or known.at_us >= link.at_us):
            return
        if known is None or known.yields_to(link):
            self.made[name] = link


def user(source: str, user_id: str) -> Name:
    """A user of the product, as `source` names them."""
    return Name("user", source, user_id)


def anonymous(source: str, anonymous_id: str) -> Name:
    """A visitor that did not say who they are."""
    return Name("anonymous", source, anonymous_id)


def external(system: str, external_id: str) -> Name:
    """Another system's id; systems are compared without regard to case."""
    return Name("external", system.casefold(), external_id)
