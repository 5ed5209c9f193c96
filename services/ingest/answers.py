"""What ingest says: refusals of a whole request as exceptions, and the JSON that every answer is made of."""

from __future__ import annotations

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

OUTAGE_RETRY_S = 5
OVERLOAD_RETRY_S = 1

_ENCODER = msgspec.json.Encoder()


class Refused(Exception):
    """The whole request is refused. SDKs need `code` and `message` in the body to know that a retry is useless."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


def unavailable(message: str) -> Refused:
    """503 with Retry-After: nothing was acknowledged, the same request may be sent again."""
    return Refused(503, "unavailable", message, retry_after=OUTAGE_RETRY_S)


def json_answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`body` as JSON."""
    return Response(_ENCODER.encode(body), status, headers, media_type="application/json")


def refused(request: Request, error: Exception) -> Response:
    """The answer to a `Refused`."""
    assert isinstance(error, Refused)
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return json_answer({"code": error.code, "message": error.message}, error.status, headers)


def routing_error(request: Request, error: Exception) -> Response:
    """The answer to a path or method that does not exist."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "error")
    body = {"code": code, "message": f"{request.method} {request.url.path}: {error.detail}"}
    return json_answer(body, error.status_code, dict(error.headers or {}))


def internal_error(request: Request, error: Exception) -> Response:
    """The answer to a defect of ours: the client may send the request again, ids make that harmless."""
    return json_answer({"code": "internal", "message": "internal error; the same request may be sent again"}, 500)
