"""Working through the queue as people do: by keyboard, with scripts off, and two at the same signal."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from services.common import db
from services.signals.recorder.main import write_signals
from services.signals.recorder.records import signal_row
from tests.browser.conftest import Site
from tests.browser.driver import NARROW, WIDE, Browser
from tests.recorded import transition

BYTES_MOST = 100 * 1024
QUERIES_MOST = 6
ROWS = "[data-rows] > li"


def focused(browser: Browser) -> str:
    """Id of the row that has the focus."""
    return str(browser.run("return document.activeElement.closest('[data-rows] > li')?.id || ''"))


def first_row(browser: Browser, query: str = "") -> str:
    """Be in the queue with the focus on its first row; its id."""
    browser.open(f"/queue{query}")
    browser.find(ROWS)
    browser.until(lambda: browser.run("return !!document.querySelector('[data-rows] > li[tabindex=\"0\"]')"))
    browser.press("j")
    return focused(browser)


def path_of_first_signal(browser: Browser, query: str = "?whose=all") -> str:
    """The page of the signal at the top of the queue."""
    browser.open(f"/queue{query}")
    return str(browser.find(f"{ROWS} [data-open]").get_attribute("href")).removeprefix(browser.base)


# --- how pages look ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible_and_keep_to_the_policy(signed_in: Browser, shots: Path, scheme: str) -> None:
    pages = {
        "queue": "/queue",
        "queue-nothing-matches": "/queue?whose=me&severity=critical&kind=opportunity",
        "signal": path_of_first_signal(signed_in),
        "preferences": "/preferences",
        "help": "/help",
        "not-found": "/signals/there-is-none",
        "sign-in": "/sign-in?next=/queue",
    }
    signed_in.scheme(scheme)
    signed_in.heard()  # what another test's pages said is its own matter
    wrong: dict[str, list[str]] = {}
    for name, path in pages.items():
        found = []
        for size in (WIDE, NARROW):
            signed_in.size(size)
            if size == WIDE:
                signed_in.open(path)
                signed_in.find("main")
                found += [line for line in signed_in.heard() if " 404 " not in line]
            found += signed_in.findings()
            if signed_in.overflow():
                found.append(f"wider than the window by {signed_in.overflow()} px")
            signed_in.picture(shots / f"{name}-{scheme}-{size[0]}.png")
        if found:
            wrong[name] = found
    signed_in.scheme("light")
    signed_in.size(WIDE)
    assert wrong == {}


def test_axe_and_the_reports_do_find_what_is_wrong(signed_in: Browser) -> None:
    signed_in.open("/help")
    signed_in.run("document.querySelector('main').innerHTML += '<img src=\"data:,\"><p style=\"color:red\">x</p>'")
    assert any(line.startswith("image-alt") for line in signed_in.findings())
    assert any(line.startswith("policy: style-src") for line in signed_in.heard())


def test_a_cold_queue_is_light_and_asks_the_database_little(site: Site, chromium: Callable[..., Browser]) -> None:
    made = chromium("cold")
    made.sign_in(site.keys["lead"], to="/help")
    made.command("Network.enable")
    made.command("Network.setCacheDisabled", cacheDisabled=True)
    made.open("/queue?whose=all")
    made.open("/queue?whose=all")
    assert len(made.every(ROWS)) > 20
    received = made.bytes_received()
    assert sum(received.values()) < BYTES_MOST, received
    assert min(received.values()) > 0, received
    cookie = made.driver.get_cookie("ebbtide")
    assert cookie is not None
    with httpx.Client(base_url=site.service.url, cookies={"ebbtide": cookie["value"]}) as client:
        for path in ("/queue", "/queue?whose=all", "/queue?whose=me&tier=low&family=usage"):
            client.get(path)
            timing = client.get(path).headers["server-timing"]
            found = re.search(r'desc="(\d+) queries"', timing)
            assert found is not None
            assert int(found[1]) <= QUERIES_MOST, (path, timing)


# --- by keyboard ---------------------------------------------------------------------------------------------------


def test_the_queue_is_worked_through_by_keyboard_alone(signed_in: Browser) -> None:
    first = first_row(signed_in, "?whose=all&status=open")
    assert first
    signed_in.press("j")
    second = focused(signed_in)
    assert second not in ("", first)
    signed_in.press("k")
    assert focused(signed_in) == first

    signed_in.press("a")
    signed_in.until(lambda: "ACK" in signed_in.text(f"#{first}"))
    signed_in.until(lambda: focused(signed_in) == second)
    assert "you acknowledged this" in signed_in.find("#polite").get_attribute("textContent")
    signed_in.press("z")
    signed_in.until(lambda: "ACK" not in signed_in.text(f"#{first}"))

    signed_in.run("document.getElementById(arguments[0]).focus()", first)
    signed_in.press("s", "1")
    signed_in.until(lambda: signed_in.every(f"#{first}.strip"))
    assert "awaiting reply" in signed_in.text(f"#{first}.strip")
    signed_in.press("z")
    signed_in.until(lambda: signed_in.every(f"#{first}:not(.strip)"))

    signed_in.run("document.getElementById(arguments[0]).focus()", second)
    signed_in.press("x", "J")
    assert signed_in.text("[data-selected]") == "2 selected:"
    signed_in.press("x", "k", "x")
    assert not signed_in.find("#bulk").is_displayed()

    signed_in.press("?")
    assert signed_in.find("#help").is_displayed()
    signed_in.press(Keys.ESCAPE)
    assert not signed_in.find("#help").is_displayed()

    signed_in.run("document.getElementById(arguments[0]).focus()", second)
    signed_in.press(Keys.ENTER)
    signed_in.until(lambda: signed_in.path.startswith("/signals/"))
    signed_in.find("#signal")
    signed_in.press(Keys.ESCAPE)
    signed_in.until(lambda: signed_in.path == "/queue?whose=all&status=open")
    signed_in.until(lambda: focused(signed_in) == second)
    signed_in.press("g", "c")
    signed_in.until(lambda: signed_in.path == "/catalogue")


def test_keys_are_dead_in_fields_and_can_be_switched_off(signed_in: Browser) -> None:
    first_row(signed_in)
    signed_in.find("#search").send_keys("a?j")
    assert signed_in.find("#search").get_attribute("value") == "a?j"
    assert not signed_in.find("#help").is_displayed()
    signed_in.open("/preferences")
    signed_in.find("input[name=keys][value=off]").click()
    signed_in.find(".preferences form .primary").click()
    signed_in.open("/help")
    signed_in.press("?")
    assert not signed_in.find("#help").is_displayed()
    signed_in.driver.delete_cookie("ebbtide_keys")


def test_a_churn_asks_for_its_reason_and_what_happened(signed_in: Browser) -> None:
    first_row(signed_in, "?whose=all&kind=risk&severity=info")
    signed_in.press("e", "3")
    signed_in.until(lambda: signed_in.path.startswith("/signals/"))
    form = signed_in.find("#close form")
    form.find_element(By.NAME, "churn_reason").send_keys("acquired")
    form.find_element(By.NAME, "comment").send_keys("Bought by a rival")
    form.find_element(By.TAG_NAME, "button").click()
    signed_in.until(lambda: "You closed this: churned (acquired, not avoidable)" in signed_in.text("#signal"))
    assert "Bought by a rival" in signed_in.text(".story")
    signed_in.find("#signal .done form button").click()
    signed_in.until(lambda: "taken back" in signed_in.text(".story"))


# --- two at once, and what is new ----------------------------------------------------------------------------------


def test_who_comes_second_is_told_and_keeps_what_was_typed(
    site: Site, signed_in: Browser, chromium: Callable[..., Browser], shots: Path
) -> None:
    other = chromium("mia")
    other.sign_in(site.keys["mia.torres"], to="/help")
    path = path_of_first_signal(signed_in)
    signed_in.open(path)
    other.open(path)
    other.find('[data-do="s2"]').click()
    other.until(lambda: "snoozed until" in other.text("#signal header"))
    box = signed_in.find('textarea[data-do="c"]')
    box.send_keys("Called them <b>twice</b>")
    signed_in.find(".comment button").click()
    signed_in.until(lambda: "Mia Torres snoozed this until" in signed_in.text(".clash"))
    assert "Called them <b>twice</b>" in signed_in.text(".clash")
    assert signed_in.findings() == []
    signed_in.picture(shots / "conflict-light-1280.png")
    signed_in.find("[data-again]").click()
    signed_in.until(lambda: "Called them <b>twice</b>" in signed_in.text(".story"))
    other.open(path)
    other.find(".bar button[value=undo]").click()
    other.until(lambda: "snoozed until" not in other.text("#signal header"))


def test_rows_change_in_place_and_new_ones_wait(
    site: Site, signed_in: Browser, chromium: Callable[..., Browser]
) -> None:
    other = chromium("mia")
    first = first_row(signed_in, "?whose=all")
    while not signed_in.every(f"#{first} [data-do='a']"):  # another test has acknowledged it
        signed_in.press("j")
        first = focused(signed_in)
    before = [row.get_attribute("id") for row in signed_in.every(ROWS)]
    other.sign_in(site.keys["mia.torres"], to="/queue%3Fwhose=all")
    other.find(f"#{first} [data-do='a']").click()
    other.until(lambda: "ACK" in other.text(f"#{first}"))
    signed_in.until(lambda: "Mia Torres" in signed_in.text(f"#{first} .ack"))
    assert focused(signed_in) == first
    asyncio.run(raised(site.url))
    signed_in.until(lambda: signed_in.find("#fresh").is_displayed())
    assert signed_in.text("#fresh").split() == ["1", "new:", "press", "."]
    assert [row.get_attribute("id") for row in signed_in.every(ROWS)] == before
    signed_in.press(".")
    signed_in.until(lambda: not signed_in.find("#fresh").is_displayed())


async def raised(url: str) -> None:
    """Something new for an account of the portfolio."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    record = transition("acct-0001", "new-one", 1, "raised", severity="critical", opened=now, appended=now)
    connection = await db.connect(url, process="test")
    try:
        async with connection.transaction():
            await write_signals(connection, [signal_row(record)])
    finally:
        await connection.close()


# --- with scripts off, and without the right ------------------------------------------------------------------------


def test_acts_work_with_scripts_off(site: Site, chromium: Callable[..., Browser]) -> None:
    plain = chromium("plain", scripts=False)
    plain.sign_in(site.keys["yuki.sato"], to="/queue%3Fwhose=all%26status=open")
    first = plain.find(f"{ROWS} .account").text
    plain.find(f"{ROWS} .acts .primary").click()
    plain.until(lambda: f"{first}: you acknowledged this." in plain.text(".done"))
    plain.find(".done button").click()
    plain.until(lambda: "you took an act back" in plain.text(".done"))
    # By keyboard: the bar of acts that comes up at the bottom may be over a box in the middle of this.
    for box in plain.every('[name="e"]')[:12]:
        box.send_keys(Keys.SPACE)
    plain.find("#bulk .primary").click()
    plain.until(lambda: plain.text("main h1") == "Acknowledge 12 signals?")
    plain.find("main .primary").click()
    plain.until(lambda: plain.text("main h1") == "Acknowledge: 12 of 12 done")
    plain.find("[data-do='z']").click()
    plain.until(lambda: plain.text("main h1") == "Undo: 12 of 12 done")


def test_who_may_only_read_sees_no_acts_and_the_scope_named(site: Site, chromium: Callable[..., Browser]) -> None:
    made = chromium("cold")
    made.sign_in(site.keys["looker"])
    assert "To act, sign in with a key that has the scope operate" in made.text(".lacks")
    assert made.every(f"{ROWS} button, {ROWS} input") == []
    made.find(f"{ROWS} [data-open]").click()
    assert made.every("#signal button") == []
    assert made.text(".lacks")


# --- signing in ----------------------------------------------------------------------------------------------------


def test_signing_in_and_out(site: Site, chromium: Callable[..., Browser]) -> None:
    made = chromium("cold")
    made.driver.delete_all_cookies()
    made.open("/queue?tier=low")
    assert made.path == "/sign-in?next=/queue%3Ftier%3Dlow"
    made.find("#key").send_keys("eb_wrong")
    made.find("main form button").click()
    assert "This key is not known" in made.text("#refused")
    assert made.findings() == []
    made.find("#key").send_keys(site.keys["mia.torres"])
    made.find("main form button").click()
    made.until(lambda: made.path == "/queue?tier=low")
    cookie = made.driver.get_cookie("ebbtide")
    assert cookie is not None
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    made.open("/preferences")
    made.find("form[action='/sign-out'] button").click()
    made.until(lambda: made.path == "/sign-in")
    with httpx.Client(base_url=site.service.url, cookies={"ebbtide": cookie["value"]}) as client:
        assert client.get("/queue", headers={"accept": "text/html"}).status_code == 303


def test_the_policy_is_loosened_for_pages_only(site: Site) -> None:
    with httpx.Client(base_url=site.service.url) as client:
        page = client.get("/sign-in", headers={"accept": "text/html"})
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "script-src 'self'" in page.headers["content-security-policy"]
        api = client.get("/v1/queue", headers={"accept": "text/html"})
        assert api.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert api.headers["content-type"] == "application/problem+json"
        (sheet,) = re.findall(r"/static/console\.[0-9a-f]+\.css", page.text)
        assert client.get(sheet).headers["cache-control"] == "public, max-age=31536000, immutable"
        assert client.get("/static/console.000000000000.css").status_code == 404
        refused = client.post("/sign-in", data={"key": "x"}, headers={"origin": "https://evil.example"})
        assert refused.status_code == 403
