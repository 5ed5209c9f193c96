"""Reading a request's body: bounded while it arrives and while it is decompressed, whatever its length claims."""

from __future__ import annotations

import zlib

from starlette.requests import ClientDisconnect, Request

from services.ingest.answers import Refused

GZIP_MAGIC = b"\x1f\x8b"
# An answer sent before the body has arrived is lost on many clients: the rest is read and thrown away, up to here.
DISCARD_AT_MOST = 32 * 1024 * 1024


async def read_body(request: Request, limit: int) -> bytes:
    """The decoded body, at most `limit` bytes.

    Raises Refused: 413 past the limit (decompression stops there), 415 for an encoding other than gzip, 400 for gzip
    that is damaged or a client that went away.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise Refused(415, "unsupported_encoding", f"Content-Encoding {encoding!r} is not supported; send gzip or none")
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
            elif size > DISCARD_AT_MOST:
                break
    except ClientDisconnect:
        raise Refused(400, "incomplete_body", "the connection closed before the body was complete") from None
    if size > limit:
        raise too_large(limit)
    body = b"".join(chunks)
    if encoding in ("gzip", "x-gzip") or body.startswith(GZIP_MAGIC):
        return gunzip(body, limit)
    return body


def gunzip(data: bytes, limit: int) -> bytes:
    """Decompress gzip (all members), never holding more than `limit` bytes of output. Raises Refused 413 or 400."""
    parts: list[bytes] = []
    room = limit
    while data:
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(data, room + 1)
        except zlib.error as error:
            raise Refused(400, "invalid_gzip", f"the body is not gzip: {error}") from None
        if len(part) > room:
            raise too_large(limit)
        if not member.eof:
            raise Refused(400, "invalid_gzip", "the gzip body is cut short")
        parts.append(part)
        room -= len(part)
        data = member.unused_data.lstrip(b"\0")
    return b"".join(parts)


def too_large(limit: int) -> Refused:
    """413: the body is over the limit of its path."""
    return Refused(413, "too_large", f"the body is over {limit} bytes decoded; send smaller batches")
