"""A pilot as the profile tells it: whether one runs, since when and until when, and how one ends."""

from __future__ import annotations

from typing import Any, NamedTuple

from services.signals.core.contract import Profile
from services.signals.core.days import day_of, day_of_iso
from services.signals.core.state import Account

STAGE = "pilot"
LIVE = "live"


class Pilot(NamedTuple):
    """A running pilot: first day, the day on which it ends (-1 where none is stated), whether it is paid, its readiness."""

    start: int
    end: int
    paid: bool
    readiness: dict[str, Any]

    def midpoint(self, default_days: int) -> int:
        """The first day that begins with half of the pilot over, as if it took `default_days` where no end is stated."""
        length = self.end - self.start if self.end > self.start else default_days
        return self.start + (length + 1) // 2


def running(profile: Profile) -> Pilot | None:
    """The pilot of an account whose stage is pilot. It starts with its stated start, the contract, or the word of its stage."""
    fields = profile.fields
    if fields.get("stage") != STAGE:
        return None
    said = fields.get("pilot") or {}
    start = day_of_iso(said.get("start") or fields.get("contract_start"))
    if start < 0:
        start = day_of(profile.set_at.get("stage", 0))
    return Pilot(start, day_of_iso(said.get("end")), said.get("paid") is True, said.get("readiness") or {})


def is_pilot(account: Account) -> bool:
    """Whether the account's stage is pilot: of others no pilot signal can hold."""
    return account.hot.profile.fields.get("stage") == STAGE


def how_it_ended(profile: Profile) -> str:
    """Why an episode about a pilot that runs no more ends."""
    return "converted" if profile.fields.get("stage") == LIVE else "not_applicable"
