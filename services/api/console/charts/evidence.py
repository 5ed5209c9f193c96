"""What a signal rests on, as charts read it: its evidence now and at each change, and the numbers of its catalogue entry."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from services.api.console.charts.words import measured

_AT_MOST_TEXT: Final = 200


class Proof(Struct, frozen=True):
    """One number of the evidence. `value`, `baseline` and `threshold` are None where they are no numbers."""

    measure: str
    unit: str
    value: float | None
    baseline: float | None
    threshold: float | None
    said: Any
    said_baseline: Any
    said_threshold: Any
    start: dt.datetime | None
    end: dt.datetime | None
    event_ids: Sequence[str]

    @property
    def window_days(self) -> int:
        """Whole days of the window; 0 without one."""
        return 0 if self.start is None or self.end is None else (self.end - self.start).days


class Change(Struct, frozen=True):
    """One transition: `raised`, `escalated` or `cleared`, and the evidence that it carried."""

    what: str
    at: dt.datetime
    severity: str
    proofs: Sequence[Proof]


class Line(Struct, frozen=True):
    """A number that a signal is judged against: where it raises, turns critical or clears."""

    kind: str
    value: float


def proofs_of(evidence: object) -> list[Proof]:
    """The evidence of a signal: a list of members as they were published, decoded or as raw JSON."""
    if isinstance(evidence, Raw):
        evidence = msgspec.json.decode(evidence)
    if not isinstance(evidence, Sequence) or isinstance(evidence, str):
        return []
    return [_proof(one) for one in evidence if isinstance(one, Mapping)]


def changes_of(transitions: Iterable[object]) -> list[Change]:
    """The transitions of an episode, first to last, as they were published: decoded, as JSON text or raw."""
    found = []
    for one in transitions:
        record = msgspec.json.decode(one) if isinstance(one, Raw | str | bytes) else one
        if not isinstance(record, Mapping):
            continue
        at, data = instant(record.get("time")), record.get("data")
        if at is not None and isinstance(data, Mapping):
            what = str(record.get("type", "")).removeprefix("signal.")
            found.append(Change(what, at, str(data.get("severity")), proofs_of(data.get("evidence"))))
    return found


def lines_of(proof: Proof, thresholds: Mapping[str, Any]) -> list[Line]:
    """Where a number raises, turns critical and clears.

    The evidence says where it raises. The other lines are numbers of the catalogue, shares of the baseline or plain ones:
    drawn only where the evidence's own threshold shows on which of the two they stand.
    """
    if proof.threshold is None:
        return []
    found = [Line("raise", proof.threshold)]
    raise_at = measured(thresholds.get("raise_at", 1))
    if raise_at is None or raise_at <= 0:
        return found
    scale = next((s for s in (1.0, proof.baseline) if s and math.isclose(proof.threshold, raise_at * s)), None)
    if scale is None:
        return found
    for kind in ("critical", "clear"):
        share = measured(thresholds.get(f"{kind}_at"))
        if share is not None and not math.isclose(share * scale, proof.threshold):
            found.append(Line(kind, share * scale))
    return found


def thresholds_for(entry: Mapping[str, Any] | None, tier: str | None) -> dict[str, Any]:
    """The numbers of a catalogue entry that are in force for a tier."""
    given = {} if entry is None else entry.get("thresholds") or {}
    return {**(given.get("default") or {}), **(given.get(tier or "low") or {})}


def instant(given: object) -> dt.datetime | None:
    """An instant of the contract, None for anything else. Without a zone it is UTC."""
    if isinstance(given, str):
        try:
            given = dt.datetime.fromisoformat(given)
        except ValueError:
            return None
    if not isinstance(given, dt.datetime):
        return None
    return given.replace(tzinfo=dt.UTC) if given.tzinfo is None else given.astimezone(dt.UTC)


def _proof(given: Mapping[str, Any]) -> Proof:
    return Proof(
        measure=str(given.get("measure", ""))[:_AT_MOST_TEXT],
        unit=str(given.get("unit", ""))[:_AT_MOST_TEXT],
        value=measured(given.get("value")),
        baseline=measured(given.get("baseline")),
        threshold=measured(given.get("threshold")),
        said=given.get("value"),
        said_baseline=given.get("baseline"),
        said_threshold=given.get("threshold"),
        start=instant(given.get("window_start")),
        end=instant(given.get("window_end")),
        event_ids=list(given.get("event_ids") or ()),
    )
