"""`/v1/catalogue`: what each signal means, at which numbers, and what to do about it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from msgspec import Struct
from starlette.responses import Response

import schemas
from services.api import answers
from services.api.answers import answer, page
from services.api.auth import require
from services.api.parameters import CatalogueFilter

router = APIRouter(prefix="/v1/catalogue", tags=["catalogue"], dependencies=[Depends(require("read"))])

DESCRIPTION = Path(schemas.__file__).parent / "generated" / "catalogue.json"


class InForce(Struct, frozen=True):
    """The catalogue with the operators' file laid over it: its signals, its digest, and the file as it was named."""

    described: list[dict[str, Any]]
    digest: str
    file: str


_laid: list[InForce] = []


def serve_this(found: InForce | None) -> None:
    """Serve this catalogue; without one, the built-in catalogue as it is."""
    _laid[:] = [] if found is None else [found]


def laid_over() -> InForce | None:
    """What operators laid over the built-in catalogue, None where they did not."""
    return _laid[0] if _laid else None


def entries() -> list[dict[str, Any]]:
    """Descriptions of the signals in force."""
    found = laid_over()
    return built_in() if found is None else found.described


@cache
def built_in() -> list[dict[str, Any]]:
    """The catalogue's own description, as it is generated into `schemas`."""
    found: list[dict[str, Any]] = msgspec.json.decode(DESCRIPTION.read_bytes())
    return found


@router.get("", responses={200: {"model": answers.CataloguePage}})
async def get_catalogue(wanted: Annotated[CatalogueFilter, Query()]) -> Response:
    """The signals in force."""
    shown = [
        entry
        for entry in entries()
        if wanted.kind in (None, entry["kind"]) and wanted.family in (None, entry["family"])
    ]
    return answer(page(shown, None))
