"""The synthetic account of the canary, and how it hears that its signal was recorded.

The engine judges it like any other. The recorder keeps nothing of it: it says on `CHANNEL` (LISTEN/NOTIFY of Postgres,
so with the commit) what each transition was. So nobody meets the account in a list, a count, a stream or an alert.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from schemas.envelope import Instant

CANARY_ACCOUNT: Final = "_canary"
CHANNEL: Final = "ebbtide_canary"


class Heard(Struct, frozen=True):
    """One transition of the canary's account that was recorded, as JSON on `CHANNEL`. `time` is event time."""

    signal: str
    type: str
    time: Instant
