"""The tick: on every input topic, to every partition. What was appended before it is older than `now`."""

from __future__ import annotations

from msgspec import Struct

from schemas.envelope import Instant, event_type


class Tick(Struct, kw_only=True):
    """`now`: everything appended to this partition before this record is older. `historical`: a replay runs."""

    now: Instant
    historical: bool = False


TICK_TYPE = "clock.tick"


TICK = event_type("*", TICK_TYPE, Tick, broadcast=True)
