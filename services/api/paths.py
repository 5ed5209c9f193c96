"""Paths whose segments may hold anything: `%2F` in an account id is part of the id, not a separator.

Servers decode a path before it is routed, which makes `a%2Fb` and `a/b` the same. `canonical` goes back to the path as
it was sent and writes each segment in one way; the `segment` convertor decodes it for the endpoint.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

from starlette.convertors import Convertor, register_url_convertor


class SegmentConvertor(Convertor[str]):
    """One path segment, percent-decoded."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        """The text of a segment. Bytes that are no UTF-8, and U+0000, become U+FFFD: no id has them."""
        return unquote(value, errors="replace").replace("\x00", "\ufffd")

    def to_string(self, value: str) -> str:
        """The segment of a text."""
        return quote(value, safe="")


SEGMENT: Final = "segment"
"""Name of the convertor, for routes: `f"/{{account_id:{SEGMENT}}}"`."""

register_url_convertor(SEGMENT, SegmentConvertor())


def canonical(raw_path: bytes) -> str:
    """The path with each segment percent-encoded as little as possible, and always the same."""
    path = raw_path.partition(b"?")[0]
    return "/".join(quote(unquote_to_bytes(segment), safe="") for segment in path.split(b"/"))
