"""Pages and fragments from templates, with what every page shows: who looks, how old the facts are, the reader's clock.

Templates are Jinja2 with autoescape and strict undefined names. Every template has, besides what is passed to it:

    viewer      who looks (`session.Viewer`), None on pages before sign-in
    clock       now and the reader's zone (`shown.Clock`)
    fresh       how old the facts are (`freshness.Freshness`), None on pages before sign-in
    path, query where we are; `here` is both, `origin` what stands before it
    token       for the forms of this page: `{{ form.proof() }}` of `macros/form.html` puts it in
    static      `static("console.css")`: the URL of a static file
    unique      `unique()`: another text each time, such as the name of a request

Filters: `ago`, `at` and `at_hour` (an instant as `<time>`: relative, exact, or short where the zone stands by), `day`,
`days_until`, `number`, `compact`, `percent`, `signed`, `money`, `money_short`, `span`, `short_span` (seconds), `segment`
(text as one path segment), `row_id` (an episode's element), `capfirst`.
Macros that use filters of time are imported `with context`.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import secrets
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from services.api.console import forms, session, shown
from services.api.console.assets import static, takes_gzip

TEMPLATES: Final = Path(__file__).parent / "templates"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing but our own files, and nothing written inline."""
HEADERS: Final = {
    "content-security-policy": POLICY,
    # Kept by this browser, so that Back restores the page as it was; signing out clears it.
    "cache-control": "private, no-cache",
    "vary": "accept-encoding, cookie, hx-request",
    # Not "no-referrer": with that, browsers send `Origin: null` for forms, which are checked by it.
    "referrer-policy": "same-origin",
}
WORTH_COMPRESSING: Final = 1024
THEME_COOKIE: Final = "ebbtide_theme"
KEYS_COOKIE: Final = "ebbtide_keys"
UTC_COOKIE: Final = "ebbtide_utc"
THEMES: Final = ("light", "dark")


def is_fragment(request: Request) -> bool:
    """Whether a script of ours asks for a part of a page, and not a browser for the whole."""
    return request.headers.get("hx-request") == "true"


def clock_of(request: Request) -> shown.Clock:
    """Now, in the zone that the browser said it is in, unless the reader prefers UTC."""
    prefers_utc = request.cookies.get(UTC_COOKIE) == "1"
    name = None if prefers_utc else request.cookies.get(session.ZONE_COOKIE, "").replace("%2F", "/")
    zone, zone_name = shown.zone_of(name)
    return shown.Clock(dt.datetime.now(dt.UTC), zone, zone_name)


def render(
    request: Request, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **context: Any
) -> Response:
    """A template as response, compressed, with the headers of pages. `headers` go along or replace them."""
    body = text(request, template, **context).encode()
    sent = HEADERS | (headers or {})
    cost = getattr(request.state, "cost", None)
    if cost is not None:
        sent["server-timing"] = cost.header()
    if len(body) > WORTH_COMPRESSING and takes_gzip(request):
        body = gzip.compress(body, 6, mtime=0)
        sent["content-encoding"] = "gzip"
    response = Response(body, status, sent, media_type="text/html")
    session.keep_form_secret(request, response)
    return response


def text(request: Request, template: str, **context: Any) -> str:
    """A template as text, such as the data of an event of a stream."""
    viewer: session.Viewer | None = getattr(request.state, "viewer", None)
    secret = session.form_secret(request) if viewer is None else viewer.form_secret
    query = request.url.query
    every = {
        "viewer": viewer,
        "clock": clock_of(request),
        "fresh": getattr(request.state, "freshness", None),
        "path": request.url.path,
        "query": query,
        "here": request.url.path + (f"?{query}" if query else ""),
        "origin": f"{'https' if session.is_https(request) else 'http'}://{request.headers.get('host', '')}",
        "token": forms.make_token(secret),
        "fragment": is_fragment(request),
        "theme": theme if (theme := request.cookies.get(THEME_COOKIE)) in THEMES else None,
        "keys": request.cookies.get(KEYS_COOKIE) != "off",
        "prefers_utc": request.cookies.get(UTC_COOKIE) == "1",
    }
    return environment.get_template(template).render(every | context)


# --- filters -------------------------------------------------------------------------------------------------------


@pass_context
def _ago(context: Context, at: dt.datetime | None) -> Markup | str:
    clock: shown.Clock = context["clock"]
    return "never" if at is None else shown.time_element(at, shown.relative(at, clock), clock)


@pass_context
def _at(context: Context, at: dt.datetime | None) -> Markup | str:
    clock: shown.Clock = context["clock"]
    return "never" if at is None else shown.time_element(at, f"{shown.exact(at, clock)} {clock.zone_name}", clock)


@pass_context
def _at_hour(context: Context, at: dt.datetime) -> Markup:
    clock: shown.Clock = context["clock"]
    return shown.time_element(at, shown.hour(at, clock), clock)


@pass_context
def _days_until(context: Context, value: dt.date) -> str:
    return shown.days_until(value, context["clock"])


def row_id(episode_id: str) -> str:
    """The id of an episode's element on a page: short, and of letters that selectors need no escape for."""
    return "e" + hashlib.sha256(episode_id.encode()).hexdigest()[:12]


def segment(value: str) -> str:
    """A text as one segment of a path."""
    return quote(value, safe="")


def link(path: str, **parameters: Any) -> str:
    """A path with those parameters that have a value, in the order given."""
    given = {name: value for name, value in parameters.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"static": static, "link": link, "unique": lambda: secrets.token_hex(8)}
    made.filters |= {
        "ago": _ago,
        "at": _at,
        "at_hour": _at_hour,
        "day": shown.day,
        "days_until": _days_until,
        "number": shown.number,
        "compact": shown.compact,
        "percent": shown.percent,
        "signed": shown.signed,
        "money": shown.money,
        "money_short": shown.money_short,
        "span": shown.span,
        "short_span": shown.short_span,
        "segment": segment,
        "row_id": row_id,
        "capfirst": lambda value: value[:1].upper() + value[1:],
    }
    return made


environment: Final = _environment()
