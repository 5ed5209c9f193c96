"""`/v1/catalogue`: what each signal means, at which numbers, and what to do about it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

import schemas
from services.api import answers
from services.api.answers import answer, page
from services.api.auth import require
from services.api.parameters import CatalogueFilter

router = APIRouter(prefix="/v1/catalogue", tags=["catalogue"], dependencies=[Depends(require("read"))])

DESCRIPTION = Path(schemas.__file__).parent / "generated" / "catalogue.json"


_in_force: list[dict[str, Any]] = []


def serve_these(described: list[dict[str, Any]]) -> None:
    """Serve these descriptions: those of the catalogue in force, where operators laid a file over the built-in one."""
    _in_force[:] = described


def entries() -> list[dict[str, Any]]:
    """Descriptions of the signals in force."""
    return _in_force or built_in()


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
