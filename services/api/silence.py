"""May silence be believed? One sentence from the facts of the pipeline: what is not heard must not be taken for calm."""

from __future__ import annotations

import datetime as dt
from typing import Final, Literal

from msgspec import Struct

from services.api.pipeline import Facts

LAG_S: Final = 120.0
"""Records that wait for longer than this are not in what is shown."""
TICK_S: Final = 300.0
"""The clock says now less a minute, every few seconds: older, it stands still."""
RECORDER_S: Final = 120.0


class Belief(Struct, frozen=True):
    """The answer in a word, and the sentence. `except` names sources whose silence alone says nothing."""

    answer: Literal["yes", "except", "no", "unknown"]
    sentence: str


def belief(facts: Facts) -> Belief:
    """Whether a silent account may be taken for a silent customer."""
    flow, says = facts.flow, facts.engine
    if flow is None:
        return Belief("unknown", "Kafka does not answer, so nobody can tell whether data arrives.")
    if all(position.applied is None for position in flow.positions):
        return Belief("no", "The engine has not applied anything yet.")
    worst = max(flow.positions, key=lambda position: (position.lag_s or 0.0, position.lag))
    if worst.lag and (worst.lag_s is None or worst.lag_s > LAG_S):
        waits = "for an unknown time" if worst.lag_s is None else f"for {_span(worst.lag_s)}"
        return Belief(
            "no", f"Records of {worst.topic} have waited {waits} for the engine: what they say is not in the signals."
        )
    still = sorted({position.topic for position in flow.positions if not position.per_s})
    if still:
        return Belief(
            "no", f"The clock stands still: no tick came to {', '.join(still)} for a minute, so no absence is judged."
        )
    if says is not None and (says.clock_at is None or (facts.now - says.clock_at).total_seconds() > TICK_S):
        since = "it has not begun" if says.clock_at is None else f"it stands at {says.clock_at:%Y-%m-%d %H:%M} UTC"
        return Belief("no", f"The engine's clock is not in the present ({since}): no absence after that is judged.")
    moved = facts.recorded.moved_at
    if moved is None or (facts.now - moved).total_seconds() > RECORDER_S:
        when = "yet" if moved is None else f"for {_span((facts.now - moved).total_seconds())}"
        return Belief("no", f"Nothing was recorded {when}: these pages show what was, not what is.")
    stale = [source for source in facts.recorded.sources if source.stale]
    if stale:
        named = ", ".join(f"{one.source} ({one.topic}, silent since {_day(one.last)})" for one in stale[:3])
        more = f" and {len(stale) - 3} more" if len(stale) > 3 else ""
        return Belief("except", f"All but what {named}{more} should have sent: absence is held there, not judged.")
    late = [source for source in facts.recorded.sources if source.late]
    if late:
        named = ", ".join(one.source for one in late[:3])
        return Belief(
            "except", f"All but {named}, which should have sent something by now: nothing is judged by its silence."
        )
    lag = max((position.lag_s or 0.0 for position in flow.positions), default=0.0)
    behind = f"is {_span(lag)} behind" if lag >= 1 else "is up to date"
    return Belief("yes", f"The engine {behind}, its clock runs, every source with a known rhythm was heard in time.")


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{round(seconds)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _day(at: dt.datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
