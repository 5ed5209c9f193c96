"""The pure parts of webhooks: who may be called, who wants what, what is signed, when it is tried again."""

from __future__ import annotations

import datetime as dt
import json
import socket
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from schemas.webhooks import Filter
from services.common.targets import TargetRefused, check_url
from services.delivery import messages
from services.delivery.filters import Facets, wants
from services.delivery.ledger import Endpoint
from services.delivery.schedule import DELAYS, Outcome, Verdict, verdict
from services.delivery.sender import AddressRefused, Sender
from services.delivery.signing import headers
from tests.recorded import transition

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)

# --- where it may go -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "https://example.com:8443/hook?a=b",
        "https://93.184.216.34/",
        "https://[2606:2800:220:1:248:1893:25c8:1946]/x",
        "https://münchen.example/",
    ],
)
def test_public_https_is_allowed(url: str) -> None:
    assert check_url(url, allow_private=False).scheme == "https"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "//example.com/",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://@example.com/",
        "https://example.com/#part",
        "https://example.com:22/",
        "https://example.com:0/",
        "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/\r\nx: y",
        "https://" + "a" * 2050,
        "https://127.0.0.1/",
        "https://127.8.9.1/",
        "https://127.0.0.1./",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://100.100.100.200/",
        "https://192.0.0.192/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://[ff02::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f000001/",
    ],
)
def test_what_is_not_public_https_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        check_url(url, allow_private=False)


def test_the_operator_may_allow_private_targets_and_nothing_else() -> None:
    assert check_url("http://127.0.0.1:80/", allow_private=True).host == "127.0.0.1"
    with pytest.raises(TargetRefused):
        check_url("http://user@127.0.0.1/", allow_private=True)


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("127.0.0.1", 443)),
        (socket.AF_INET, ("10.0.0.8", 443)),
        (socket.AF_INET6, ("::ffff:169.254.169.254", 443, 0, 0)),
        (socket.AF_INET6, ("fe80::1%eth0", 443, 0, 2)),
        (socket.AF_INET, ("rebound.example", 443)),
    ],
)
async def test_an_address_is_refused_where_it_would_be_connected_to(family: int, address: tuple[Any, ...]) -> None:
    sender = Sender(allow_private=False, clock=lambda: NOW, version="1")
    try:
        with pytest.raises(AddressRefused):
            sender._socket((family, socket.SOCK_STREAM, 0, "", address))
    finally:
        await sender.close()


# --- what is sent --------------------------------------------------------------------------------------------------

FACETS = Facets("signal.raised", "risk", "warning", "usage.decline", "high")


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (Filter(), True),
        (Filter(types=()), True),
        (Filter(types=("signal.cleared",)), False),
        (Filter(kinds=("opportunity",)), False),
        (Filter(severity="info"), True),
        (Filter(severity="warning"), True),
        (Filter(severity="critical"), False),
        (Filter(signals=("usage.decline",)), True),
        (Filter(signals=("usage.*",)), True),
        (Filter(signals=("use.*", "usage")), False),
        (Filter(tiers=("high", "low")), True),
        (Filter(tiers=("tech",)), False),
        (Filter(signals=("usage.*",), kinds=("opportunity",)), False),
    ],
)
def test_every_part_of_a_filter_must_let_it_pass(wanted: Filter, passes: bool) -> None:
    assert wants(wanted, FACETS) is passes


def test_no_tier_is_none_of_the_tiers_asked_for() -> None:
    nobody = FACETS._replace(tier=None)
    assert wants(Filter(), nobody)
    assert not wants(Filter(tiers=("high", "low", "tech")), nobody)


def test_a_message_carries_the_event_as_it_was_written() -> None:
    event = (transition("acme", "e1", 1, "raised").value or b"").decode()
    message = json.loads(messages.standard("signal.raised", event))
    assert message == {"type": "signal.raised", "timestamp": "2026-03-01T00:00:00Z", "data": json.loads(event)}


def test_a_slack_text_says_who_what_why_and_what_to_do() -> None:
    event = (transition("acme", "e1", 1, "raised", severity="critical", reason="<b> & more").value or b"").decode()
    text = json.loads(messages.slack("signal.raised", event, "https://eb.test/"))["text"]
    assert text.splitlines() == [
        "Critical risk usage.decline: *Acme*, high tier, Ana",
        "&lt;b&gt; &amp; more",
        "Next: Call (csm)",
        "<https://eb.test/signals/e1|Open in the console>",
    ]
    act = {
        "source": "ebbtide/api",
        "subject": "acme",
        "time": "2026-03-01T00:00:00Z",
        "data": {
            "episode_id": "e1",
            "actor": "Ben",
            "signal": "usage.decline",
            "outcome": "saved",
            "comment": "they stay",
            "account": {"name": None},
        },
    }
    text = json.loads(messages.slack("signal.closed", json.dumps(act), "https://eb.test"))["text"]
    assert text.splitlines()[:3] == ["Ben closed usage.decline: *acme*", "outcome: saved", "they stay"]


SECRETS = st.binary(min_size=24, max_size=64).map(lambda raw: "whsec_" + b64encode(raw).decode())


@given(SECRETS, SECRETS, st.binary(max_size=200).map(lambda raw: json.dumps(raw.hex()).encode()))
def test_the_public_library_accepts_both_signatures_and_no_other(new: str, old: str, body: bytes) -> None:
    now = int(dt.datetime.now(dt.UTC).timestamp())
    signed = headers([new, old], "msg_1", now, body)
    for secret in (new, old):
        assert Webhook(secret).verify(body, signed) == json.loads(body)
    if new != old:
        with pytest.raises(WebhookVerificationError):
            Webhook(old).verify(body, headers([new], "msg_1", now, body))
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body + b" ", signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body, signed | {"webhook-id": "msg_2"})


def test_the_secret_before_signs_until_its_time_is_over() -> None:
    endpoint = Endpoint("wh_1", "", "standard", Filter(), "new", "old", NOW, 0, None, 1)
    assert endpoint.secrets(NOW - SECOND) == ["new", "old"]
    assert endpoint.secrets(NOW) == ["new"]


# --- when it is tried again ----------------------------------------------------------------------------------------


def outcome(status: int | None, *, at: dt.datetime = NOW, retry_after: str | None = None) -> Outcome:
    return Outcome(at=at, seconds=0.1, status=status, retry_after=retry_after)


def test_the_schedule_is_that_of_the_specification() -> None:
    seconds = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    waits = [verdict(outcome(500), tries, None, 0.5).next_at for tries in range(1, 10)]
    assert waits == [NOW + dt.timedelta(seconds=each) for each in seconds]
    assert verdict(outcome(500), 10, None, 0.5).state == "failed"


@given(st.integers(1, 9), st.floats(0, 1, exclude_max=True), st.sampled_from([None, 301, 400, 404, 429, 500, 503]))
def test_a_wait_is_the_schedules_give_or_take_a_tenth(tries: int, chance: float, status: int | None) -> None:
    made = verdict(outcome(status), tries, None, chance)
    assert made.state == "retrying"
    assert made.failing_since == NOW
    assert made.next_at is not None
    assert 0.89 * DELAYS[tries - 1] <= made.next_at - NOW <= 1.11 * DELAYS[tries - 1]


@pytest.mark.parametrize(
    ("status", "asked", "waits"),
    [
        (429, "120", 120 * SECOND),
        (503, "Mon, 01 Jun 2026 13:00:00 GMT", HOUR),
        (429, "2", 5 * SECOND),  # never sooner than the schedule
        (429, "9" * 40, DAY),  # and never later than a day
        (503, "Fri, 01 Jan 2100 00:00:00 GMT", DAY),
        (503, "Mon, 01 Jan 2001 00:00:00 GMT", 5 * SECOND),
        (429, "soon", 5 * SECOND),
        (429, "-5", 5 * SECOND),
        (500, "120", 5 * SECOND),  # only these two statuses ask for it
    ],
)
def test_retry_after_is_honoured_within_bounds(status: int, asked: str, waits: dt.timedelta) -> None:
    assert verdict(outcome(status, retry_after=asked), 1, None, 0.5).next_at == NOW + waits


def test_gone_disables_at_once_and_success_is_any_2xx() -> None:
    gone = verdict(outcome(410), 1, None, 0.5)
    assert (gone.disable, gone.state) == ("gone", "retrying")
    for status in (200, 202, 204, 299):
        assert verdict(outcome(status), 3, NOW - DAY, 0.5) == Verdict(state="delivered")
    for refused in (199, 300, 301, 404):
        assert verdict(outcome(refused), 1, None, 0.5).state == "retrying"


def test_five_days_of_failure_disable() -> None:
    since = NOW - 5 * DAY
    assert verdict(outcome(500), 2, since + SECOND, 0.5).disable is None
    made = verdict(outcome(None), 2, since, 0.5)
    assert (made.disable, made.failing_since) == ("failing", since)
