"""How much an account may have open at once, and whether it is near to that. What is turned away is in `Hot.over_cap`."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from services.signals.core.contacts import MAX_CONTACTS
from services.signals.core.state import MAX_OPEN_INVOICES, MAX_OPEN_TICKETS, Account

CAPS: Final = {"tickets": MAX_OPEN_TICKETS, "invoices": MAX_OPEN_INVOICES, "contacts": MAX_CONTACTS}
NEAR: Final = 0.8
_FEWEST: Final = int(NEAR * min(CAPS.values()))


class Near(Struct, frozen=True):
    """An account that has come near to a cap: how many it has of which collection, and how many it may have."""

    account: str
    collection: str
    count: int
    cap: int


def near(account: Account) -> list[Near]:
    """The collections of which an account has four fifths of what is kept, or more."""
    hot = account.hot
    if max(len(hot.tickets), len(hot.invoices), len(hot.contacts.people)) < _FEWEST:
        return []
    counts = {"tickets": len(hot.tickets), "invoices": len(hot.invoices), "contacts": len(hot.contacts.people)}
    return [Near(account.id, name, count, CAPS[name]) for name, count in counts.items() if count >= NEAR * CAPS[name]]
