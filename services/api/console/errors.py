"""What a browser sees where a request fails: a page with a way back, or, for a script's request, a notice on the page."""

from __future__ import annotations

import secrets
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from services.api.console import session
from services.api.console.render import is_fragment, render
from services.common.problems import Problem

MACHINES: Final = ("/v1/", "/openapi.json", "/livez", "/readyz")
INTO_NOTICE: Final = {"hx-retarget": "#notice", "hx-reswap": "innerHTML"}

log = structlog.get_logger()


def for_a_person(request: Request) -> bool:
    """Whether a browser waits for a page: what is under /v1 always answers as JSON."""
    return not request.url.path.startswith(MACHINES) and "text/html" in request.headers.get("accept", "")


def error_page(request: Request, problem: Problem) -> Response:
    """A problem as page or notice. `www-authenticate` is left out: a browser would ask for a password."""
    request_id = secrets.token_hex(4)
    if problem.status >= 500:
        log.warning("page_failed", request_id=request_id, status=problem.status, method=request.method)
    headers = {name: value for name, value in problem.headers.items() if name != "www-authenticate"}
    context = {"problem": problem, "request_id": request_id, "act": request.method == "POST"}
    if is_fragment(request):
        return render(request, "parts/problem.html", status=problem.status, headers=headers | INTO_NOTICE, **context)
    return render(request, "error.html", status=problem.status, headers=headers, back=_back(request), **context)


def sign_in_first(request: Request, needed: session.SignInNeeded) -> Response:
    """Where nobody is signed in: on to the page that signs in; a script's request leaves the page as it is."""
    if is_fragment(request):
        return render(request, "parts/signed_out.html", status=401, headers=INTO_NOTICE)
    response = RedirectResponse(session.to_sign_in(request), 303)
    if needed.why is not None:
        session.clear_cookie(request, response)
    return response


def _back(request: Request) -> str:
    """The page before, where it is one of ours."""
    referer = urlsplit(request.headers.get("referer", ""))
    if referer.netloc.lower() != request.headers.get("host", "").lower() or referer.path == request.url.path:
        return "/queue"
    return session.safe_next(referer.path + (f"?{referer.query}" if referer.query else ""))
