"""What the functions that take events into state share: their type, and the sub-records they load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from schemas.envelope import Event
from services.signals.core.records import Invoice, Ticket, User
from services.signals.core.state import Account


class Records(Protocol):
    """Sub-records of the account under work, loaded when touched."""

    def user(self, account: Account, user_id: str) -> User:
        """The user's record, a new one if there is none."""

    def changed(self, account: Account, user_id: str) -> None:
        """The user's record, which `user` gave, was changed and is to be stored."""

    def active(self, account: Account, user_id: str, day: int) -> int:
        """Note that a user was active on a day. The user's last active day before, -1 for none; `day` may be older."""

    def ticket(self, account: Account, ticket_id: str) -> Ticket | None:
        """The ticket, open or not."""

    def invoice(self, account: Account, invoice_id: str) -> Invoice | None:
        """The invoice, open or not."""


Handler = Callable[[Account, Event, int, Records], int]
"""Takes (account, event, its time in µs, records) in, and says which facts signals must look at again."""


def known(account: Account, event: Event, at: int, records: Records) -> int:
    """Accepted, and read by no signal yet."""
    return 0


def note_value(account: Account, at: int) -> None:
    """The account reached value at an instant; the first time is kept."""
    hot = account.hot
    if not hot.value_reached or at < hot.clock:
        onboarding = account.change_dossier().onboarding
        onboarding.value_at = at if onboarding.value_at < 0 else min(onboarding.value_at, at)
    hot.value_reached = True
