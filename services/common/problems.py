"""Errors over HTTP as RFC 9457 problem details: what is wrong, with which field, and what to do."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:ebbtide:problem:"

_encode: Final = msgspec.json.Encoder().encode


class FieldError(Struct, frozen=True):
    """One field that is refused, and why."""

    field: str
    detail: str


class Problem(Exception):
    """Raised where a request cannot be answered; the server turns it into the response.

    `code` names the kind of problem and never changes; `detail` is for people. `headers` go along. `members` are added
    to the answer: what a program needs to go on.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        headers: dict[str, str] | None = None,
        members: dict[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.members = members or {}

    def body(self) -> bytes:
        """The problem as JSON. `field` is there when exactly one is meant, `errors` whenever one is."""
        members: dict[str, object] = {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if len(self.errors) == 1:
            members["field"] = self.errors[0].field
        if self.errors:
            members["errors"] = self.errors
        return _encode(members | self.members)


def bad_parameter(*errors: FieldError) -> Problem:
    """400: parameters of the request are refused, each by name."""
    detail = "; ".join(f"{error.field}: {error.detail}" for error in errors)
    return Problem(400, "invalid-parameter", "A parameter is not valid", detail, errors=errors)


def unauthenticated(detail: str) -> Problem:
    """401: no key, or one that is not in force."""
    return Problem(401, "unauthenticated", "A key is needed", detail, headers={"www-authenticate": "Bearer"})


def forbidden(scope: str) -> Problem:
    """403: the key lacks a scope."""
    detail = f"this key lacks the scope {scope}; make one with `ebbtide keys create --scope {scope}`"
    headers = {"www-authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
    return Problem(403, "forbidden", "The key does not allow this", detail, headers=headers)


def not_found(detail: str) -> Problem:
    """404: there is no such thing."""
    return Problem(404, "not-found", "There is no such thing", detail)


def unavailable(detail: str, *, retry_after_s: int = 5) -> Problem:
    """503: something that is needed is away; the same request may be sent again."""
    headers = {"retry-after": str(retry_after_s)}
    return Problem(503, "unavailable", "Not available at the moment", detail, headers=headers)
