"""Static files, read once: each under a name that holds a hash of its bytes, so that a browser may keep it for ever."""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from msgspec import Struct
from starlette.responses import Response

from services.common.problems import not_found

FOLDER: Final = Path(__file__).parent / "static"
PREFIX: Final = "/static/"
HASH_CHARACTERS: Final = 12
MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


class Asset(Struct, frozen=True):
    """A file as it is sent. `compressed` is its gzip form, which does not change from process to process."""

    url: str
    media_type: str
    plain: bytes
    compressed: bytes


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """Every static file by its path in the folder, such as `vendor/htmx.min.js`."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix not in MEDIA_TYPES:
            continue
        plain = path.read_bytes()
        name = path.relative_to(FOLDER).as_posix()
        digest = hashlib.sha256(plain).hexdigest()[:HASH_CHARACTERS]
        url = f"{PREFIX}{name.removesuffix(path.suffix)}.{digest}{path.suffix}"
        found[name] = Asset(url, MEDIA_TYPES[path.suffix], plain, gzip.compress(plain, 9, mtime=0))
    return found


@lru_cache(maxsize=1)
def _by_url() -> dict[str, Asset]:
    return {asset.url: asset for asset in assets().values()}


def static(name: str) -> str:
    """The URL of a static file. Raises KeyError for a file that there is not."""
    return assets()[name].url


def takes_gzip(request: Request) -> bool:
    """Whether the client reads gzip."""
    return "gzip" in request.headers.get("accept-encoding", "")


@router.get(PREFIX + "{name:path}")
async def get_static(request: Request) -> Response:
    """One static file. A name of an older version is not found: pages name the newest."""
    asset = _by_url().get(request.url.path)
    if asset is None:
        raise not_found("no such file; reload the page that names it")
    headers = {"cache-control": FOR_EVER, "vary": "accept-encoding"}
    if takes_gzip(request):
        return Response(asset.compressed, media_type=asset.media_type, headers=headers | {"content-encoding": "gzip"})
    return Response(asset.plain, media_type=asset.media_type, headers=headers)
