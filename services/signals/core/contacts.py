"""Contacts and the roles they hold: whether a sponsor or champion was lost. The latest event time wins per field."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

WATCHED_ROLES: Final = ("executive_sponsor", "champion")
MAX_CONTACTS: Final = 500


class Person(Struct, array_like=True):
    """A contact. `roles_at`, `gone_at` and `email_at` are the event times that set what stands before them."""

    name: str | None = None
    roles: list[str] = []
    roles_at: int = -1
    gone: bool = False
    gone_at: int = -1
    email: str = ""
    email_at: int = -1

    def reads_mail_as(self, who: str, user: str) -> bool:
        """Whether mail to `user` goes to this contact, whose id is `who`: the same id, or the same address in any case."""
        return user == who or (bool(self.email) and user.casefold() == self.email.casefold())


class LostRole(Struct, array_like=True):
    """A watched role that its holder gave up while nobody else held it."""

    holder: str
    since: int
    event_id: str


class Contacts(Struct, array_like=True):
    """Every contact of the account, and the watched roles that are lost now."""

    people: dict[str, Person] = {}
    lost: dict[str, LostRole] = {}

    def holders(self, role: str) -> list[str]:
        """Contact ids that hold a role now."""
        return [who for who, person in self.people.items() if not person.gone and role in person.roles]

    def change(
        self,
        who: str,
        at: int,
        event_id: str,
        *,
        name: str | None = None,
        email: str | None = None,
        roles: list[str] | None = None,
        gone: bool | None = None,
    ) -> None:
        """Apply one event about a contact and work out which watched roles it loses or fills."""
        before = {role for role in WATCHED_ROLES if self.holders(role)}
        person = self.people.setdefault(who, Person())
        if name is not None:
            person.name = name
        if email is not None and at >= person.email_at:
            person.email, person.email_at = email, at
        if roles is not None and at >= person.roles_at:
            person.roles, person.roles_at = list(dict.fromkeys(roles)), at
        if gone is not None and at >= person.gone_at:
            person.gone, person.gone_at = gone, at
        for role in WATCHED_ROLES:
            held = bool(self.holders(role))
            if held:
                self.lost.pop(role, None)
            elif role in before:
                self.lost[role] = LostRole(person.name or who, at, event_id)
