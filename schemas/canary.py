"""The synthetic accounts of the canary, and how it hears that one of its signals was recorded.

The engine judges them like any other. The recorder keeps nothing of them: it says on `CHANNEL` (LISTEN/NOTIFY of Postgres,
so with the commit) what each transition was. So nobody meets them in a list, a count, a stream or an alert.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from schemas.envelope import Instant

CANARY_PREFIX: Final = "_canary-"
"""What the ids of these accounts begin with. No customer's may."""
CHANNEL: Final = "ebbtide_canary"


class Heard(Struct, frozen=True):
    """One transition of one of these accounts that was recorded, as JSON on `CHANNEL`. `time` is event time."""

    account: str
    signal: str
    type: str
    time: Instant
