"""Webhooks on their page: how each stands, a test that arrives, one message sent again, and who may see it at all."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.keys import Keys

from services.common import db
from services.common.settings import Settings
from services.delivery.webhooks import Webhooks
from tests.browser.conftest import Site
from tests.browser.driver import NARROW, WIDE, Browser
from tests.browser.looks import looked_at
from tests.receiver import Answer, Receiver, receiver

SECRET = "whsec_c2VjcmV0LW9mLTI0LWJ5dGVzLW9rYXkh"
NOW = dt.datetime.now(dt.UTC)


@contextmanager
def delivering(url: str) -> Iterator[None]:
    """Webhooks are sent until the end of the block."""
    stopped = threading.Event()

    async def run() -> None:
        stop = asyncio.Event()
        sending = asyncio.create_task(Webhooks(Settings(database_url=url, webhook_allow_private=True)).run(stop))
        await asyncio.to_thread(stopped.wait)
        stop.set()
        await sending

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


async def subscribe(url: str, target: str) -> None:
    """One endpoint that delivers, one that has been failing, one that is gone; the second with a log."""
    endpoints = [
        (
            "wh_good",
            f"{target}/hook/T0/secret",
            "Slack of the CSMs",
            "slack",
            {"severity": "critical"},
            True,
            None,
            None,
        ),
        ("wh_bad", "https://tools.example.com/in", None, "standard", {"kinds": ["risk"]}, True, None, NOW),
        ("wh_gone", "https://old.example.com/in", "Old tool", "standard", {}, False, "gone", NOW),
    ]
    connection = await db.connect(url, process="test")
    try:
        for name, to, words, kind, filters, enabled, because, failing in endpoints:
            every = {
                "types": ["signal.raised", "signal.cleared"],
                "kinds": [],
                "severity": None,
                "signals": [],
                "tiers": [],
            }
            await connection.execute(
                "INSERT INTO webhooks (webhook_id, url, description, format, filters, secret, cursor, enabled,"
                " disabled_at, disabled_because, failing_since) SELECT $1, $2, $3, $4, $5::json, $6,"
                " coalesce(max(id), 0), $7, $8, $9, $10 FROM feed",
                *(name, to, words, kind, json.dumps(every | filters), SECRET, enabled),
                *(None if enabled else NOW - dt.timedelta(days=1), because),
                None if failing is None else failing - dt.timedelta(days=2),
            )
        for number, state in enumerate(["delivered", "failed", *["retrying"] * 28]):
            row = await connection.fetchrow(
                "INSERT INTO webhook_deliveries (webhook_id, message_id, type, state, attempts, next_at, created_at)"
                " VALUES ('wh_bad', $1, 'signal.raised', $2, 2, $3, $4) RETURNING delivery_id",
                *(f"msg_{number}", state, NOW + dt.timedelta(hours=5) if state == "retrying" else None),
                NOW - dt.timedelta(hours=30 - number),
            )
            for attempt, (status, error) in enumerate([(None, "no answer within 15 s"), (503, None)], 1):
                await connection.execute(
                    "INSERT INTO webhook_attempts (delivery_id, attempt, at, milliseconds, status, error, excerpt)"
                    " VALUES ($1, $2, $3, 15000, $4, $5, $6)",
                    *(row["delivery_id"], attempt, NOW - dt.timedelta(hours=29 - number), status, error),
                    "<h1>Down</h1>" if status else None,
                )
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def target(site: Site) -> Iterator[Receiver]:
    """Whom the first endpoint leads to."""
    with receiver() as made:
        asyncio.run(subscribe(site.url, made.url))
        yield made


@pytest.fixture(scope="module")
def admin(site: Site, target: Receiver, chromium: Callable[..., Browser]) -> Browser:
    """A browser in which somebody who administers is signed in."""
    made = chromium("cold")
    made.driver.delete_all_cookies()
    made.sign_in(site.keys["lead"], to="/webhooks")
    return made


def test_how_each_endpoint_stands_and_what_was_sent(admin: Browser, shots: Path) -> None:
    page = admin
    said = [one.text for one in page.every("main li.panel")]
    assert "delivers" in said[0]
    assert "raised, cleared · critical" in said[0]
    assert "failing since 2 d ago" in said[1]
    assert "raised, cleared · risk only" in said[1]
    assert "disabled 1 d ago, the receiver says that it is gone (410)" in said[2]
    assert "secret" not in page.driver.page_source.lower().replace("their secrets shown", "")
    for size in (WIDE, NARROW):
        page.size(size)
        page.picture(shots / f"webhooks-light-{size[0]}.png")
        assert page.findings() == []
        assert page.overflow() <= 0
    page.size(WIDE)
    page.open("/webhooks/wh_bad")
    assert "after 5 days of it the endpoint is disabled" in page.text("[aria-labelledby=state]")
    rows = [row.text for row in page.every("tbody tr")]
    assert len(rows) == 25
    assert "retrying" in rows[0]
    assert " 503 2\n" in rows[0]
    looked_at(page, shots, "webhook")
    page.find("a[rel=next]").click()
    page.until(lambda: "cursor=" in page.path)
    assert [row.text.split("\n")[1] for row in page.every("tbody tr")] == ["Try now"] * 3 + ["Send again"] * 2
    page.open("/webhooks/wh_bad?state=failed")
    page.find("tbody th a").click()
    page.until(lambda: "/deliveries/" in page.path)
    attempts = [one.text for one in page.every("[aria-labelledby=attempts] li")]
    assert attempts[0].startswith("no answer ")
    assert "no answer within 15 s" in attempts[0]
    assert attempts[1].startswith("503 ")
    assert "<h1>Down</h1>" in attempts[1]
    assert page.findings() == []
    page.picture(shots / "webhook-message-light-1280.png")
    page.open("/webhooks/wh_none")
    assert "No webhook 'wh_none'" in page.text("main")
    page.heard()


def test_a_test_arrives_once_and_a_message_goes_again_by_keyboard(site: Site, admin: Browser, target: Receiver) -> None:
    page = admin
    target.answer = lambda got: Answer(500 if not target.got else 200)
    page.open("/webhooks/wh_good")
    page.run("const b = document.querySelector('button[value=test]'); b.click(); b.click()")
    page.until(lambda: "did=test" in page.path)
    assert "A test message is on its way" in page.text(".result")
    assert page.text("tbody tr").split()[-1] == "0"  # waits: nothing to send again yet
    page.run("document.querySelector('button[value=test]').click()")
    page.until(lambda: "Not possible as it stands" in page.text("main"))
    assert "A test is on its way" in page.text("main")
    with delivering(site.url):
        page.until(lambda: (page.open("/webhooks/wh_good"), "delivered 200 1" in page.text("tbody tr"))[1])
        page.run("document.querySelector('button[value=redeliver]').focus()")
        page.press(Keys.ENTER)
        page.until(lambda: "did=redeliver" in page.path)
        page.until(lambda: (page.open("/webhooks/wh_good"), "delivered 200 2" in page.text("tbody tr"))[1])
    assert len({got.id for got in target.got}) == 1
    assert [line for line in page.heard() if "409 (Conflict)" not in line] == []


def test_disabled_and_enabled_with_scripts_off(site: Site, target: Receiver, chromium: Callable[..., Browser]) -> None:
    page = chromium("plain", scripts=False)
    page.sign_in(site.keys["lead"], to="/pipeline")
    page.find("a[href='/webhooks']").click()
    page.until(lambda: page.path == "/webhooks")
    page.open("/webhooks/wh_gone")
    assert not page.every("button[value=test]")
    page.find("button[value=enable]").click()
    page.until(lambda: "It goes on where it was" in page.text(".result"))
    page.find("button[value=disable]").click()
    page.until(lambda: "disabled just now, by hand" in page.text("main"))
    page.find("details summary.button").click()
    page.find("button[value=skip]").click()
    page.until(lambda: "What happened meanwhile is not sent" in page.text(".result"))


def test_only_who_administers_sees_webhooks_and_only_our_forms_act(site: Site, admin: Browser) -> None:
    cookie = admin.driver.get_cookie("ebbtide")
    assert cookie is not None
    browser = {"accept": "text/html"}
    with httpx.Client(base_url=site.service.url, cookies={"ebbtide": cookie["value"]}, headers=browser) as client:
        act = {"do": "disable"}
        own = {"origin": site.service.url}
        assert client.post("/webhooks/wh_good/acts", data=act, headers=own).status_code == 403
        foreign = client.post("/webhooks/wh_good/acts", data=act, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403
        form = client.get("/webhooks/wh_good").text.split('name="token" value="')[1].split('"')[0]
        wrongs = (({"do": "delete"}, "one of test, enable"), ({"do": "redeliver", "delivery_id": "x"}, "no number"))
        for wrong, why in wrongs:
            answer = client.post("/webhooks/wh_good/acts", data=wrong | {"token": form}, headers=own)
            assert answer.status_code == 400
            assert why in answer.text
        assert "delivers" in client.get("/webhooks").text
    with httpx.Client(base_url=site.service.url, headers=browser) as client:
        page = client.get("/sign-in").text.split('name="token" value="')[1].split('"')[0]
        client.post("/sign-in", data={"key": site.keys["lea.vogt"], "token": page}, headers=own)
        for path in ("/webhooks", "/webhooks/wh_good", "/webhooks/wh_good/deliveries/1"):
            answer = client.get(path)
            assert answer.status_code == 403
            assert "needs the scope admin" in answer.text
