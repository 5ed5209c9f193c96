"""The catalogue: what fires, at which numbers, and whether it is right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from services.api.console import session
from services.api.console.render import render
from services.api.console.session import Viewer
from services.api.endpoints.catalogue import built_in, entries, laid_over
from services.api.judged_by import JudgedBy
from services.api.parameters import Parameters
from services.api.paths import SEGMENT
from services.api.signal_records import DAYS, MOST, Record, SignalRecords
from services.common.problems import not_found

router = APIRouter(include_in_schema=False)

Reader = Annotated[Viewer, Depends(session.reader)]

TIERS: Final = ("high", "low", "tech")
DEFAULT: Final = "default"


class Shown(Parameters):
    """Which signals, as the page's form sends it: empty is all."""

    q: Annotated[str, Field("", max_length=200)]
    family: Annotated[str, Field("", max_length=64)]
    kind: Annotated[Literal["", "risk", "opportunity"], Field("")]
    owner: Annotated[str, Field("", max_length=64)]

    def takes(self, entry: dict[str, Any]) -> bool:
        """Whether it is one of these: each word of `q` is somewhere in its texts."""
        texts = " ".join((entry["id"], entry["title"], entry["meaning"], entry["action"]["title"])).casefold()
        return (
            self.family in ("", entry["family"])
            and self.kind in ("", entry["kind"])
            and self.owner in ("", entry["action"]["owner"])
            and all(word in texts for word in self.q.casefold().split())
        )


class Threshold(Struct, frozen=True):
    """One number of a signal by tier (`default` where a tier has none of its own), and what it was before operators."""

    name: str
    now: dict[str, Any]
    was: dict[str, Any]

    @property
    def changed(self) -> bool:
        """Whether operators changed it."""
        return self.now != self.was


class Line(Struct, frozen=True):
    """A signal as it is listed. `state` says what operators made of it."""

    entry: dict[str, Any]
    state: Literal["built_in", "changed", "own", "off"]
    record: Record


@router.get("/catalogue")
async def get_catalogue(request: Request, viewer: Reader, shown: Annotated[Shown, Query()]) -> Response:
    """Every signal, those switched off last."""
    known = lines(entries(), built_in(), await _records(request))
    laid = laid_over()
    judged_by: JudgedBy = request.app.state.judged_by
    return render(
        request,
        "catalogue.html",
        laid=laid,
        since=None if laid is None else await judged_by.read(laid.digest),
        lines=[line for line in known if shown.takes(line.entry)],
        total=len(known),
        shown=shown,
        families=sorted({line.entry["family"] for line in known}),
        owners=sorted({line.entry["action"]["owner"] for line in known}),
        days=DAYS,
        most=MOST,
    )


@router.get(f"/catalogue/{{signal:{SEGMENT}}}")
async def get_signal(request: Request, viewer: Reader, signal: Annotated[str, Path()]) -> Response:
    """One signal: meaning, numbers, cases, and its record in use."""
    known = lines(entries(), built_in(), await _records(request))
    line = next((line for line in known if line.entry["id"] == signal), None)
    if line is None:
        raise not_found(f"no signal {signal!r} in the catalogue")
    before = {entry["id"]: entry for entry in built_in()}.get(signal)
    return render(
        request,
        "catalogue_signal.html",
        line=line,
        signal=line.entry,
        record=line.record,
        thresholds=thresholds(line.entry, line.entry if before is None else before),
        tiers=columns(line.entry, before),
        days=DAYS,
        most=MOST,
    )


async def _records(request: Request) -> dict[str, Record]:
    records: SignalRecords = request.app.state.signal_records
    return await records.read({entry["id"] for entry in (*entries(), *built_in())})


def lines(
    in_force: Iterable[dict[str, Any]], before: Iterable[dict[str, Any]], records: dict[str, Record]
) -> list[Line]:
    """Signals in force by id, then those that operators switched off."""
    originals = {entry["id"]: entry for entry in before}
    found = []
    for entry in in_force:
        original = originals.pop(entry["id"], None)
        state: Literal["built_in", "changed", "own"] = "own"
        if original is not None:
            state = "built_in" if original["thresholds"] == entry["thresholds"] else "changed"
        found.append(Line(entry, state, records.get(entry["id"], Record())))
    return found + [Line(entry, "off", records.get(name, Record())) for name, entry in originals.items()]


def thresholds(entry: dict[str, Any], original: dict[str, Any]) -> list[Threshold]:
    """The numbers of a signal by tier, as they are and as they were."""
    now, was = entry["thresholds"], original["thresholds"]
    names = dict.fromkeys(name for tiers in (now, was) for values in tiers.values() for name in values)
    return [Threshold(name, _by_tier(now, name), _by_tier(was, name)) for name in names]


def _by_tier(tiers: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    default = tiers.get(DEFAULT, {}).get(name)
    return {tier: tiers.get(tier, {}).get(name, default) for tier in (DEFAULT, *TIERS)}


def columns(*described: dict[str, Any] | None) -> list[str]:
    """The tiers that have numbers of their own, before them those of all others, where there are others."""
    own = [tier for tier in TIERS if any(entry is not None and entry["thresholds"].get(tier) for entry in described)]
    return own if len(own) == len(TIERS) else [DEFAULT, *own]
