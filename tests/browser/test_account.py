"""The account page as a CSM meets it: what is on it, what can be done there, and how it looks."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser import falling, rows
from tests.browser.conftest import Site
from tests.browser.driver import NARROW, WIDE, Browser
from tests.browser.looks import looked_at

PAGE = f"/accounts/{quote(falling.ACCOUNT, safe='')}"


@pytest.fixture(scope="module")
def account(site: Site, signed_in: Browser) -> Browser:
    """A browser, signed in, of a service that has recorded the account that falls."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    asyncio.run(rows.record(site.url, *rows.judged(falling.lines(now), now)))
    return signed_in


def test_the_account_on_one_page(account: Browser, shots: Path) -> None:
    page = account
    page.open(PAGE)
    assert page.text("h1") == falling.NAME
    head = page.text(".account-head")
    assert "240,006 EUR" in head  # twelve times 20,000.50, to the cent
    assert "in 38 d" in head
    signals = page.text("#signals")
    assert "Usage is falling" in page.run("return document.querySelector('#signals').textContent")
    assert signals.index("CRITICAL") < signals.index("WARNING")
    brief = page.text("#brief")
    assert "INV-1: 20,000.50 EUR, 22 d" in brief
    assert "Nobody known as executive sponsor." in brief
    assert "Slow </q>" in brief
    health = page.text("#health")
    assert "points are shared out" in health
    score = float(page.text(".part-sum strong"))
    points = [float(one.text) for one in page.every(".part-points strong")]
    assert sum(points) == pytest.approx(score, abs=0.06)
    # What the score was made of 30 days ago was recorded then: its change is told by parts.
    steps = page.run("return [...document.querySelectorAll('#change table td')].map(e => e.textContent)")
    assert any("−" in step for step in steps)
    assert "starved" in page.text("#coverage")
    looked_at(page, shots, "account")


def test_the_windows_of_a_signal_are_drawn_into_the_use(account: Browser) -> None:
    page = account
    page.open(PAGE)
    assert "Usage was" in page.text("#usage .reason")
    chart = page.find("#usage svg.drawing.wide")
    assert chart.is_displayed()
    drawn = page.text("#usage svg.drawing.wide")
    assert "baseline" in drawn
    assert "opened" in drawn
    page.run("arguments[0].focus()", chart)
    page.press(Keys.END)
    assert "so far" in page.text("#usage .chart-says")
    page.press(Keys.ARROW_LEFT)
    assert "uses" in page.text("#usage .chart-says")
    page.size(NARROW)
    assert page.find("#usage svg.drawing.narrow").is_displayed()
    assert not page.find("#usage svg.drawing.wide").is_displayed()
    page.size(WIDE)
    page.find("#usage .choices a:last-child").click()
    page.until(lambda: "usage=none" in page.path)
    assert not page.every("#usage .reason")


def test_an_act_on_the_page_comes_back_to_its_signal_and_into_the_history(account: Browser) -> None:
    page = account
    page.open(PAGE)
    first = page.find(".account-signal").get_attribute("id")
    page.find(f"#{first} button[value='acknowledge']").click()
    page.until(lambda: "Acknowledged" in page.text(f"#{first}"))
    assert page.path == f"{PAGE}#{first}"
    assert "by Lea Vogt" in page.text(f"#{first} .stands")
    assert not page.every(f"#{first} button[value='acknowledge']")
    assert "Lea Vogt acknowledged this" in page.text("#history .line")


def test_the_history_is_read_page_by_page_and_in_part(account: Browser) -> None:
    page = account
    page.open(PAGE)
    page.find("#history .choices a:nth-child(2)").click()
    page.until(lambda: "show=tickets" in page.path)
    page.until(lambda: all("Ticket" in one.text for one in page.every("#history .what")))
    assert len(page.every("#history .line")) == 7
    page.find("#history .choices a:nth-child(4)").click()
    page.until(lambda: "NPS survey answered by u1: 4" in page.text("#history"))
    assert page.heard() == []


def test_an_account_without_use_is_told_so_and_never_called_fine(account: Browser) -> None:
    page = account
    page.open("/accounts?q=nobody+is+called+this")
    assert "No account matches" in page.text("main")
    page.open("/accounts/never-heard-of")
    assert "never-heard-of" in page.text("main")


def test_the_list_finds_by_words_and_goes_on(account: Browser, shots: Path) -> None:
    page = account
    page.open("/accounts?limit=10")
    assert len(page.every("tbody tr")) == 10
    page.find("a[rel='next']").click()
    page.until(lambda: "cursor=" in page.path)
    page.open("/accounts?q=fall")
    assert page.text("tbody tr th a") == falling.NAME
    page.open("/accounts")
    looked_at(page, shots, "accounts")
