"""The portfolio page: numbers by currency, each with its accounts; panels that come by themselves; no scripts needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.browser.conftest import Site
from tests.browser.driver import Browser
from tests.browser.looks import looked_at


def test_the_page_comes_at_once_and_its_panels_by_themselves(site: Site, signed_in: Browser, shots: Path) -> None:
    page = signed_in
    page.open("/portfolio")
    page.until(
        lambda: page.every("#measures .figures") and page.every("#managers table") and page.every("#outcomes table")
    )
    assert page.path == "/portfolio"
    # One section for each currency, and nothing that adds them up.
    assert {one.get_attribute("aria-label") for one in page.every("#measures .currency")} == {"EUR", "USD"}
    assert "lea.vogt" in page.text("#managers")
    page.run("document.querySelector('#reports').scrollIntoView()")
    page.until(lambda: "Retention by industry" in page.text("#reports"))
    page.open("/portfolio?whole=true&group_by=tier")
    assert {"high", "low", "tech"} >= {one.text for one in page.every(".groups th[scope='rowgroup']")} != set()
    looked_at(page, shots, "portfolio")


def test_a_number_opens_the_accounts_that_it_is_made_of(site: Site, signed_in: Browser, shots: Path) -> None:
    page = signed_in
    page.open("/portfolio?whole=true")
    counted = int(page.text("#measures .figure:nth-child(3) dd a"))
    assert counted > 0
    page.find("#measures .figure:nth-child(3) dd a").click()
    page.until(lambda: page.path.startswith("/portfolio/accounts"))
    assert len(page.every("tbody tr")) == counted
    assert all("WARNING" in one.text or "CRITICAL" in one.text for one in page.every("tbody tr"))
    looked_at(page, shots, "portfolio-accounts")
    page.open("/portfolio/accounts?of=lost")
    assert "No accounts" in page.text("main") or page.every("tbody tr")


def test_one_manager_and_a_question_that_makes_no_sense(site: Site, signed_in: Browser) -> None:
    page = signed_in
    page.open("/portfolio?whole=true&csm=lea.vogt&group_by=&tier=&from=&to=")
    assert "lea.vogt beside the rest of the team" in page.text("#managers")
    page.open("/portfolio?from=2026-05-05&to=2026-05-01")
    assert "is after the last day of the period" in page.text("main")
    page.open("/portfolio/accounts?of=nothing")
    assert "Input should be 'opening', 'lost'" in page.text("main")


def test_without_scripts_everything_is_on_the_page(site: Site, chromium: Callable[..., Browser]) -> None:
    page = chromium("plain", scripts=False)
    page.sign_in(site.keys["looker"], to="/portfolio")
    page.find("#measures a").click()
    page.until(lambda: "whole=true" in page.path)
    assert len(page.every("#measures .currency")) == 2
    assert "Retention by industry" in page.text("#reports")
