"""What a browser posts: form fields, and the proof that one of our own pages posted them.

Two independent checks hold off forms of other sites: the browser's own word on where the request comes from (`Origin`,
`Sec-Fetch-Site`), and a token in every form that only a page made for this browser can hold.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from services.common.problems import FieldError, Problem, bad_parameter

TOKEN_FIELD: Final = "token"
LARGEST_BODY: Final = 64 * 1024
MOST_FIELDS: Final = 1000
NONCE_CHARACTERS: Final = 16
FORM_TYPE: Final = "application/x-www-form-urlencoded"


class Form:
    """The fields of a posted form. A name may come several times."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def get(self, name: str) -> str | None:
        """The last value of a field, without space around it; None where it is absent or empty."""
        values = self.every(name)
        return values[-1] if values else None

    def every(self, name: str) -> list[str]:
        """Every value of a field that is not empty, in the order of the form."""
        return [stripped for key, value in self._fields if key == name and (stripped := value.strip())]


def refused(detail: str) -> Problem:
    """403: a post that does not come from a page of ours."""
    return Problem(403, "foreign-form", "This form is not from here, or is too old", detail)


async def posted(request: Request, form_secret: str) -> Form:
    """The fields of a post from one of our own pages. Raises a Problem: 400, 403, 413 or 415."""
    check_origin(request)
    form = await _read(request)
    if not token_holds(form.get(TOKEN_FIELD) or "", form_secret):
        raise refused("nothing was done. Open the page again and send the form from there")
    return form


def check_origin(request: Request) -> None:
    """Raises a 403 problem for a request that another site caused."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise refused("nothing was done: the request was made by another site")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise refused(
            "nothing was done: the request was made by another site. Behind a proxy, have it pass on the Host header"
        )
    if site is None and origin is None:
        raise refused("nothing was done: the browser does not say which page this comes from (no Origin header)")


async def _read(request: Request) -> Form:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise Problem(415, "unsupported-media-type", "This is no form", f"send {FORM_TYPE}")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise Problem(413, "too-large", "The form is too large", f"{LARGEST_BODY} bytes are the most")
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise bad_parameter(FieldError("form", f"not a form in UTF-8 with at most {MOST_FIELDS} fields")) from None
    if any("\x00" in value for field in fields for value in field):
        raise bad_parameter(FieldError("form", "U+0000 cannot be part of it"))
    return Form(fields)


def make_token(form_secret: str) -> str:
    """A token for the forms of one page. Another each time, so that compression of the page tells nothing of it."""
    nonce = secrets.token_hex(NONCE_CHARACTERS // 2)
    return nonce + _signature(nonce, form_secret)


def token_holds(token: str, form_secret: str) -> bool:
    """Whether a page made with this secret held the token."""
    nonce = token[:NONCE_CHARACTERS]
    return hmac.compare_digest(token.encode(), (nonce + _signature(nonce, form_secret)).encode())


def _signature(nonce: str, form_secret: str) -> str:
    return hmac.new(form_secret.encode(), b"form " + nonce.encode(), hashlib.sha256).hexdigest()
