"""The console's pure parts: how things are written, where posts may come from, what a form of an act says."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.requests import Request

from services.api.console import act_forms, forms, session, shown
from services.api.console.act_forms import wanted
from services.api.console.directory import Directory
from services.api.console.forms import Form
from services.api.console.freshness import Freshness, Quiet
from services.api.console.sign_in import FAILURES_MOST, FAILURES_WITHIN_S, Failures
from services.common.problems import Problem

NOW = dt.datetime(2026, 11, 22, 9, 12, tzinfo=dt.UTC)
ZONE, ZONE_NAME = shown.zone_of("Europe/Berlin")
CLOCK = shown.Clock(NOW, ZONE, ZONE_NAME)
PEOPLE = Directory({"ana": "Ana Lima", "ben": "Ben Ode", "b2": "Ben Ode"}, ("digital",))


# --- how things are written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (dt.timedelta(seconds=20), "just now"),
        (dt.timedelta(minutes=14), "14 min ago"),
        (dt.timedelta(hours=3, minutes=5), "3 h ago"),
        (dt.timedelta(days=6, hours=23), "6 d ago"),
        (dt.timedelta(days=7), "15 Nov 2026"),
        (-dt.timedelta(hours=2), "in 2 h"),
        (-dt.timedelta(days=8), "30 Nov 2026"),
    ],
)
def test_times_are_relative_within_a_week(ago: dt.timedelta, text: str) -> None:
    assert shown.relative(NOW - ago, CLOCK) == text


def test_times_are_in_the_readers_zone_and_name_it() -> None:
    element = shown.time_element(NOW, "now", CLOCK)
    assert element == '<time datetime="2026-11-22T09:12:00Z" title="22 Nov 2026, 10:12 Europe/Berlin">now</time>'
    assert shown.zone_of("No/Such_Zone") == (dt.UTC, "UTC")
    assert shown.zone_of("../../etc/passwd") == (dt.UTC, "UTC")
    assert shown.hour(NOW - dt.timedelta(hours=10, minutes=13), CLOCK) == "21 Nov, 23:59"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (950, "950"),
        (1000, "1k"),
        (240_000, "240k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (1_200_000, "1.2M"),
        (0, "0"),
    ],
)
def test_numbers_of_lists_are_short(value: int, text: str) -> None:
    assert shown.compact(value) == text


def test_money_is_exact_and_names_its_currency() -> None:
    assert shown.money(Decimal("240000.50"), "EUR") == "240,000.50 EUR"
    assert shown.money("100000000000000000000.01", "USD") == "100,000,000,000,000,000,000.01 USD"
    assert shown.money(Decimal("-12"), "XXX") == "\u221212 (no currency)"
    assert shown.money_short(Decimal(240_000), "USD") == "240k USD"
    assert shown.money(None, "USD") == "not known"


def test_percentages_and_changes() -> None:
    assert shown.percent(0.512) == "51%"
    assert shown.percent(0.034) == "3.4%"
    assert shown.signed(-9) == "\u22129"
    assert shown.signed(3) == "+3"
    assert shown.signed(0) == "0"


# --- how old the facts are -----------------------------------------------------------------------------------------


def fresh(**more: Any) -> Freshness:
    known = {"now": NOW, "as_of": NOW - dt.timedelta(minutes=1), "recorded_at": NOW, "accounts": True, "quiet": ()}
    return Freshness(**(known | more))


def test_what_is_old_is_called_so() -> None:
    assert not fresh().stale
    assert fresh(as_of=NOW - dt.timedelta(minutes=16)).behind
    assert fresh(recorded_at=NOW - dt.timedelta(minutes=3)).stopped
    assert fresh(quiet=(Quiet("app-eu", NOW),)).stale
    assert not fresh(as_of=None, recorded_at=None).stale


# --- where a post may come from ------------------------------------------------------------------------------------


def request(headers: dict[str, str], body: bytes = b"", client: str = "127.0.0.1") -> Request:
    async def parts() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": body, "more_body": False}

    sent = parts()

    async def receive() -> dict[str, Any]:
        return await anext(sent)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": raw, "client": (client, 9)}
    return Request(scope, receive)


HOST = {"host": "console.example:8080", "content-type": "application/x-www-form-urlencoded"}
OURS = HOST | {"origin": "http://console.example:8080", "sec-fetch-site": "same-origin"}


async def test_a_form_of_ours_is_read() -> None:
    body = urlencode({"token": forms.make_token("secret"), "comment": "  Grüße & mehr "}).encode()
    form = await forms.posted(request(OURS, body), "secret")
    assert form.get("comment") == "Grüße & mehr"
    assert form.get("nothing") is None


@pytest.mark.parametrize(
    "headers",
    [
        HOST,
        HOST | {"origin": "https://evil.example"},
        HOST | {"origin": "null"},
        OURS | {"sec-fetch-site": "cross-site"},
        OURS | {"sec-fetch-site": "same-site"},
        OURS | {"origin": "http://console.example:9090"},
    ],
)
async def test_a_form_of_another_site_is_refused(headers: dict[str, str]) -> None:
    body = urlencode({"token": forms.make_token("secret")}).encode()
    with pytest.raises(Problem) as refused:
        await forms.posted(request(headers, body), "secret")
    assert refused.value.status == 403


@pytest.mark.parametrize("token", ["", "0" * 80, forms.make_token("of another browser"), "é"])
async def test_a_form_without_our_token_is_refused(token: str) -> None:
    with pytest.raises(Problem) as refused:
        await forms.posted(request(OURS, urlencode({"token": token}).encode()), "secret")
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (OURS | {"content-type": "application/json"}, b"{}", 415),
        (OURS, b"a=" + b"x" * forms.LARGEST_BODY, 413),
        (OURS, b"a=%00", 400),
        (OURS, b"a=%ff", 400),
        (OURS, b"a=1&" * 1001, 400),
    ],
)
async def test_what_is_no_form_is_refused(headers: dict[str, str], body: bytes, status: int) -> None:
    with pytest.raises(Problem) as refused:
        await forms.posted(request(headers, body), "secret")
    assert refused.value.status == status


def test_tokens_are_another_each_time() -> None:
    assert forms.make_token("secret") != forms.make_token("secret")


# --- who signs in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/signals/a%2Fb?x=1", "/signals/a%2Fb?x=1"),
        (None, "/queue"),
        ("https://evil.example/", "/queue"),
        ("//evil.example/", "/queue"),
        ("/\\evil.example/", "/queue"),
        ("javascript:alert(1)", "/queue"),
        ("/a\nb", "/queue"),
    ],
)
def test_one_goes_on_to_pages_of_ours_only(asked: str | None, path: str) -> None:
    assert session.safe_next(asked) == path


def test_only_a_trusted_proxy_names_a_user() -> None:
    proxies = session.Proxies("X-User", [ipaddress.ip_network("10.0.0.0/24")])
    assert proxies.user_of(request({"x-user": "ana"}, client="10.0.0.7")) == "ana"
    assert proxies.user_of(request({"x-user": "ana"}, client="10.0.1.7")) is None
    assert proxies.user_of(request({"x-user": "ana", "x-forwarded-for": "10.0.0.7"}, client="8.8.8.8")) is None
    assert session.Proxies(None, [ipaddress.ip_network("0.0.0.0/0")]).user_of(request({"x-user": "ana"})) is None


def test_after_failures_an_address_waits() -> None:
    now = 0.0
    failures = Failures(clock=lambda: now)
    for _ in range(FAILURES_MOST):
        assert failures.wait_s("a") == 0
        failures.add("a")
    assert failures.wait_s("a") == FAILURES_WITHIN_S
    assert failures.wait_s("b") == 0
    now = FAILURES_WITHIN_S + 1
    assert failures.wait_s("a") == 0


# --- what a form of an act says ------------------------------------------------------------------------------------


def form(**fields: str) -> Form:
    return Form(list(({"version": "3", "seen": "2"} | fields).items()))


def test_a_snooze_pairs_a_morning_with_a_reason() -> None:
    asked = wanted(form(do="snooze-2", request_id="r"), "ana", PEOPLE, CLOCK)
    assert (asked.act, asked.version, asked.seen, asked.request_id) == ("snooze", 3, 2, "r.snooze-2")
    # 09:00 in Berlin, in winter.
    assert asked.content.until == dt.datetime(2026, 11, 25, 8, tzinfo=dt.UTC)  # type: ignore[attr-defined]
    assert asked.content.reason == "away"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("ana", {"to": "ana"}),
        ("ana lima", {"to": "ana"}),
        ("pool:digital", {"pool": "digital"}),
        ("digital", {"pool": "digital"}),
    ],
)
def test_work_is_given_to_people_by_id_or_name_and_to_pools(to: str, said: dict[str, str]) -> None:
    assert act_forms.assignee(to, PEOPLE) == said


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"do": "assign", "to": "Ben Ode"}, "to"),
        ({"do": "assign", "to": "nobody there"}, "to"),
        ({"do": "assign"}, "to"),
        ({"do": "snooze", "until": "soon", "reason": "x"}, "until"),
        ({"do": "snooze", "until": "2026-11-30"}, "reason"),
        ({"do": "close"}, "outcome"),
        ({"do": "close-lost"}, "outcome"),
        ({"do": "close", "outcome": "churned", "comment": "left"}, "churn_reason"),
        ({"do": "comment"}, "comment"),
        ({"do": "dance"}, "do"),
        ({"do": "acknowledge", "version": "-1"}, "version"),
    ],
)
def test_what_is_missing_is_named(fields: dict[str, str], field: str) -> None:
    with pytest.raises(Problem) as refused:
        wanted(form(**fields), "ana", PEOPLE, CLOCK)
    assert refused.value.status == 400
    assert [error.field for error in refused.value.errors] == [field]


def test_a_key_that_is_nobodys_takes_nothing() -> None:
    with pytest.raises(Problem) as refused:
        wanted(form(do="take"), None, PEOPLE, CLOCK)
    assert refused.value.errors[0].field == "to"
