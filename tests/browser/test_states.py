"""Pages as they are when something is not as usual: other colours, a slow line, old facts, nothing to do, one part away."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from services.common import db, keys, people
from tests.browser import falling, rows
from tests.browser.driver import NARROW, WIDE, Browser, browser
from tests.browser.test_work import ROWS
from tests.conftest import PostgresServer, clean_environment
from tests.harness import free_ports, start_service

ACCOUNT = f"/accounts/{quote(falling.ACCOUNT, safe='')}"


class Alone:
    """An api of its own with the account that falls, and a browser in which Lea Vogt, its CSM, is signed in."""

    def __init__(self, page: Browser, database: str) -> None:
        self.page = page
        self._database = database

    def sql(self, *statements: str) -> list[Any]:
        """Run statements; the rows of the last one."""

        async def run() -> list[Any]:
            connection = await db.connect(self._database, process="test")
            try:
                return [await connection.fetch(statement) for statement in statements][-1]
            finally:
                await connection.close()

        return asyncio.run(run())


@pytest.fixture(scope="module")
def alone(
    postgres: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alone]:
    """Whose facts a test may make old or take away."""
    postgres.server.create_database("states", template=migrated_template)
    url = postgres.server.url("states")
    key = asyncio.run(fill(url))
    port, metrics_port = free_ports(2)
    env = clean_environment() | {
        "EBBTIDE_DATA_DIR": str(tmp_path_factory.mktemp("states-api")),
        "EBBTIDE_DATABASE_URL": url,
        "EBBTIDE_API_PORT": str(port),
        "EBBTIDE_METRICS_PORT_API": str(metrics_port),
    }
    service = start_service("api", env)
    try:
        with browser(service.url, tmp_path_factory.mktemp("chromium-states")) as page:
            page.zone("Europe/Berlin")
            page.sign_in(key)
            yield Alone(page, url)
    finally:
        code = service.stop()
        postgres.server.drop_database("states")
    assert code == 0, service.tail()


async def fill(url: str) -> str:
    """Record the account as of 40 s ago; Lea's key."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    await rows.record(url, *rows.judged(falling.lines(now), now))
    engine = db.create_engine(url, process="test", pool_size=1)
    try:
        async with engine.begin() as writing:
            await people.put_user(writing, "lea.vogt", scopes=["operate"], name="Lea Vogt", by="cli")
            await writing.exec_driver_sql("UPDATE latest_scores SET as_of = now() - interval '40 s'")
        return (await keys.create(engine, ["operate"], user="lea.vogt", name="lea")).secret
    finally:
        await engine.dispose()


def wait_for(page: Browser, path: str, css: str, words: str) -> str:
    """Open a page again until an element says these words: the age of facts is remembered for some seconds."""

    def there() -> str:
        page.open(path)
        said = page.text(css) if page.every(css) else ""
        return said if words in said else ""

    found: str = page.until(there)
    return found


def kept_acts(alone: Alone) -> int:
    """How many acts there are."""
    return int(alone.sql("SELECT count(*) FROM acts")[0][0])


# --- other colours, and paper --------------------------------------------------------------------------------------


def test_colours_that_the_reader_forces_leave_every_mark(alone: Alone, shots: Path) -> None:
    page = alone.page
    page.open("/queue")
    signal = str(page.find(f"{ROWS} [data-open]").get_attribute("href")).removeprefix(page.base)
    page.heard()
    try:
        for scheme in ("light", "dark"):
            forced = [("forced-colors", "active"), ("prefers-color-scheme", scheme)]
            features = [{"name": name, "value": value} for name, value in forced]
            page.command("Emulation.setEmulatedMedia", features=features)
            for name, path in (("queue", "/queue"), ("account", ACCOUNT), ("signal", signal)):
                page.open(path)
                page.picture(shots / f"{name}-forced-{scheme}-1280.png")
                assert page.findings() == [], (name, scheme)
                shapes = page.run(
                    "return [...document.querySelectorAll('main .severity')].filter(e => e.checkVisibility())"
                    ".map(e => [e.textContent.trim(), e.querySelector('svg').getBoundingClientRect().width,"
                    " getComputedStyle(e.querySelector('svg')).stroke])"
                )
                assert shapes
                ground = page.run("return getComputedStyle(document.body).backgroundColor")
                for word, width, stroke in shapes:
                    assert word
                    assert width >= 12, word
                    assert stroke not in ("none", ground), word
            page.open(ACCOUNT)
            # Which day is baseline and which is judged is told by more than one colour the reader replaces.
            fills = "return ['base', 'now'].map(c => getComputedStyle(document.querySelector('#usage .bar.' + c)).fill)"
            base, now = page.run(fills)
            assert base != now
            quiet = page.run("return getComputedStyle(document.querySelector('.drawing text.quiet')).fill")
            assert quiet == page.run("return getComputedStyle(document.body).color")
            # Where we are is told by an edge.
            edge = "return getComputedStyle(document.querySelector('.choices [aria-current]')).borderTopColor"
            assert page.run(edge) != page.run("return getComputedStyle(document.body).backgroundColor")
        assert [line for line in page.heard() if "layout shift" not in line] == []
    finally:
        page.scheme("light")


def test_an_account_on_paper_has_what_it_says_and_nothing_to_press(alone: Alone, shots: Path) -> None:
    page = alone.page
    page.open(ACCOUNT)
    made = page.command("Page.printToPDF", preferCSSPageSize=True, paperWidth=8.27, paperHeight=11.69)
    pdf = base64.b64decode(made["data"])
    assert pdf.startswith(b"%PDF")
    assert 2 <= pdf.count(b"/Type /Page\n") <= 6
    (shots / "account-print.pdf").write_bytes(pdf)
    try:
        page.command("Emulation.setEmulatedMedia", media="print")
        page.size((680, 900))  # A4 between its margins
        page.picture(shots / "account-print.png")
        for css in (".top", ".help", ".skip", "button", "select", "textarea", "#pending", "summary.button"):
            assert not any(one.is_displayed() for one in page.every(css)), css
        assert page.overflow() <= 0
        cut = page.run(
            "return [...document.querySelectorAll('main *')].filter(e => e.checkVisibility() && !e.closest('svg')"
            " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className)"
        )
        assert cut == []
        # What the page folds away on a screen cannot be unfolded on paper.
        assert page.text("#signals h2").split()[-1] == page.run(
            "return String([...document.querySelectorAll('.account-signal')].filter(e => e.checkVisibility()).length)"
        )
        link = page.find("#signals .signal-line a")
        assert "underline" in link.value_of_css_property("text-decoration-line")
        assert link.value_of_css_property("color") == page.find("#signals p").value_of_css_property("color")
        printed = page.text(".printed")
        assert "by Lea Vogt, facts as of" in printed
        assert printed.endswith(page.base + ACCOUNT)
    finally:
        page.command("Emulation.setEmulatedMedia", media="")
        page.size(WIDE)
    assert not page.find(".printed").is_displayed()


# --- a slow line ---------------------------------------------------------------------------------------------------


SEND_TWICE = """
const done = arguments[arguments.length - 1], button = document.querySelector(arguments[0]), seen = {at: null};
const pending = document.getElementById('pending'), row = button.closest('li'), began = performance.now();
new MutationObserver(() => {
  if (seen.at !== null || !pending.textContent) return;
  seen.at = performance.now() - began;
  row.querySelector('.rank summary').click();
  setTimeout(() => done({...seen, told: pending.textContent, busy: row.getAttribute('aria-busy'),
    polite: document.getElementById('polite').textContent, rank: row.querySelector('.rank p').checkVisibility()}));
}).observe(pending, {childList: true});
button.click();
button.click();
"""

LEAVE_TWICE = """
addEventListener('submit', () => sessionStorage.sent = 1 + Number(sessionStorage.sent || 0));
const pending = document.getElementById('pending'), button = document.querySelector(arguments[0]);
new MutationObserver(() => sessionStorage.told = pending.textContent).observe(pending, {childList: true});
button.click();
button.click();
"""


def test_on_a_slow_line_an_act_is_seen_under_way_and_sent_once(alone: Alone, shots: Path) -> None:
    page = alone.page
    before = kept_acts(alone)
    page.open("/queue")
    page.command("Network.enable")
    try:
        line = {"offline": False, "latency": 2500, "downloadThroughput": 50000, "uploadThroughput": 50000}
        page.command("Network.emulateNetworkConditions", **line)
        seen = page.driver.execute_async_script(SEND_TWICE, f"{ROWS} [data-do='a']")
        page.picture(shots / "queue-slow-light-1280.png")
        assert seen["at"] >= 295  # what is quick makes no noise
        assert (seen["told"], seen["busy"]) == ("Sending: Acknowledge …", "true")
        assert "sent already" in seen["polite"]
        assert seen["rank"]  # the page stays of use meanwhile
        page.until(lambda: "ACK" in page.text(ROWS))
        page.until(lambda: page.text("#pending") == "")
        sent = "return performance.getEntriesByType('resource').filter(e => e.name.endsWith('/acts')).length"
        assert page.run(sent) == 1
        # A form that goes on to another page is sent once, too.
        page.command("Network.emulateNetworkConditions", **line | {"latency": 0, "downloadThroughput": -1})
        page.open(ACCOUNT)
        page.command("Network.emulateNetworkConditions", **line | {"latency": 1000})
        page.run(LEAVE_TWICE, "button[value=take]")
        page.until(lambda: "with Lea Vogt" in page.text("#signals"))
        assert page.run("return [sessionStorage.sent, sessionStorage.told]") == ["1", "Sending: Take it …"]
        assert kept_acts(alone) == before + 2
    finally:
        every = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        page.command("Network.emulateNetworkConditions", offline=False, **every)


# --- one part away -------------------------------------------------------------------------------------------------


def test_a_panel_that_fails_says_so_and_leaves_the_others(alone: Alone, shots: Path) -> None:
    page = alone.page
    page.heard()
    alone.sql("ALTER TABLE health_parts RENAME COLUMN parts TO gone")
    try:
        page.open(ACCOUNT)
        for panel in ("#health", "#change"):
            said = page.text(f"{panel} .failed")
            assert said.startswith("Health could not be read. This is a defect, kept in the log as ")
            assert "tell that to whoever runs Ebbtide" in said
            assert "Try again" in said
        assert "Traceback" not in page.driver.page_source
        assert "health_parts" not in page.driver.page_source
        assert len(page.every(".failed")) == 2
        assert "INV-1: 20,000.50 EUR" in page.text("#brief")
        assert "NPS survey answered" in page.text("#history")
        assert page.find("#usage svg.drawing.wide").is_displayed()
        assert page.findings() == []
        page.picture(shots / "account-panel-failed-light-1280.png")
    finally:
        alone.sql("ALTER TABLE health_parts RENAME COLUMN gone TO parts")
    page.find("#health .failed a").click()
    page.until(lambda: page.every("#health .part-row"))
    assert not page.every(".failed")


def test_parts_of_another_day_are_told_as_of_that_day(alone: Alone, shots: Path) -> None:
    """As after a replay, in which few health records are made."""
    page = alone.page
    today = dt.datetime.now(dt.UTC).date()
    wanted, kept = today - dt.timedelta(days=30), today - dt.timedelta(days=18)

    def day(one: dt.date) -> str:
        return f"{one.day} {one:%b %Y}"

    alone.sql(f"DELETE FROM health_parts WHERE day BETWEEN '{today - dt.timedelta(days=50)}' AND '{wanted}'")
    alone.sql(f"DELETE FROM health_parts WHERE day BETWEEN '{wanted}' AND '{kept - dt.timedelta(days=1)}'")
    alone.sql(
        f"INSERT INTO health_parts SELECT account_id, '{kept}', parts FROM health_parts ORDER BY day DESC LIMIT 1"
        " ON CONFLICT DO NOTHING"
    )
    page.open(ACCOUNT)
    said = page.text("#change")
    assert "In 18 days" in said
    assert f"No parts are kept for {day(wanted)}; the nearest are of {day(kept)}. In 30 days the whole score" in said
    assert page.find("#change svg.drawing.narrow").is_displayed()
    assert "in 18 d" in page.text("#health .parts")
    page.picture(shots / "account-parts-of-another-day-light-1280.png")
    alone.sql(f"DELETE FROM health_parts WHERE day <= '{today - dt.timedelta(days=7)}'")
    page.open(ACCOUNT)
    assert f"No parts are kept for {day(wanted)} or a day near it" in page.text("#change")


def test_days_that_came_late_are_dotted(alone: Alone, shots: Path) -> None:
    page = alone.page
    alone.sql("UPDATE usage_days SET revised_at = now() WHERE day BETWEEN current_date - 43 AND current_date - 41")
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        page.open(ACCOUNT)
        assert len(page.every("#usage svg.wide .bar.revised")) == 3
        assert "dotted: changed by what came late" in page.text("#usage svg.wide")
        page.run("document.querySelector('#usage').scrollIntoView()")
        page.find("#usage").screenshot(str(shots / f"usage-revised-{scheme}.png"))
    page.scheme("light")


# --- old facts, and nothing to do ----------------------------------------------------------------------------------


def test_old_facts_are_told_in_words_and_acts_work(alone: Alone, shots: Path) -> None:
    page = alone.page
    recorded = "INSERT INTO recorder_offsets (topic, partition, next_offset, updated_at) VALUES ('health', 0, 1, now())"
    alone.sql(recorded, "UPDATE latest_scores SET as_of = now() - interval '74 min'")
    try:
        said = wait_for(page, "/queue", ".stale", "behind.")
        assert ", 1 h 14 min behind." in said
        assert "Nothing newer was judged." in said
        assert "1 h behind" in page.text(".asof")
        assert page.every(ROWS)
        assert page.every(f"{ROWS} .acts a")
        for size in (WIDE, NARROW):
            page.size(size)
            page.picture(shots / f"queue-stale-light-{size[0]}.png")
            assert page.findings() == []
            assert page.overflow() <= 0
        # Nothing open is not all clear.
        page.open("/queue?whose=none&severity=critical")
        alone.sql("UPDATE recorder_offsets SET updated_at = now() - interval '9 min'")
        said = wait_for(page, "/queue", ".stale", "Nothing was recorded for")
        assert "Nothing was recorded for 9 min. What you see is as it was then." in said
        page.size(WIDE)
        page.scheme("dark")
        page.picture(shots / "queue-stopped-dark-1280.png")
        assert page.findings() == []
    finally:
        page.scheme("light")
        page.size(WIDE)
        alone.sql("DELETE FROM recorder_offsets", "UPDATE latest_scores SET as_of = now()")


def test_a_queue_that_sleeps_says_until_when(alone: Alone, shots: Path) -> None:
    page = alone.page
    held = alone.sql("SELECT * FROM handlings")
    alone.sql(
        "INSERT INTO handlings (episode_id, account_id, version, snoozed_at, snoozed_by, snoozed_until, snooze_reason,"
        " snoozed_ordinal, updated_at) SELECT episode_id, account_id, 1, now(), 'lea.vogt', now() + interval '50 h',"
        " 'plan running', last_ordinal, now() FROM episodes WHERE cleared_at IS NULL"
        " ON CONFLICT (episode_id) DO UPDATE SET snoozed_until = excluded.snoozed_until, snoozed_by = 'lea.vogt',"
        " snooze_reason = excluded.snooze_reason, snoozed_ordinal = excluded.snoozed_ordinal",
        "UPDATE queue_entries SET handled = true",
    )
    assert held
    for size in (WIDE, NARROW):
        page.size(size)
        page.open("/queue")
        said = page.text(".empty")
        assert said.startswith("All is snoozed or closed")
        assert "13 snoozed; the next wakes in 2 d" in said
        assert page.findings() == []
        assert page.overflow() <= 0
        page.picture(shots / f"queue-snoozed-light-{size[0]}.png")
    page.size(WIDE)
    page.find(".empty a").click()
    page.until(lambda: page.path == "/queue?status=snoozed")
    assert "plan running" in page.text(ROWS)


def test_an_account_says_what_people_did_and_puts_away_what_they_closed(alone: Alone, shots: Path) -> None:
    """After the test before: all is snoozed."""
    page = alone.page
    page.open(ACCOUNT)
    assert not page.every(".next-step")  # nothing is to do before its time
    page.run("document.querySelector('#signals details.rest').open = true")
    assert page.text(".account-signal .stands").startswith("Snoozed until ")
    assert page.text(".account-signal .stands").endswith(" by Lea Vogt: plan running; with Lea Vogt.")
    alone.sql("DELETE FROM handlings WHERE episode_id NOT IN (SELECT episode_id FROM acts)")
    page.open(ACCOUNT)
    first = page.text(".account-signal .signal-line a")
    snoozed = "return [...document.querySelectorAll('.account-signal .stands')].map(e => e.textContent)"
    assert [line[:7] for line in page.run(snoozed)] == ["Snoozed"]  # and last: it is put off
    page.run("document.querySelector('.account-signal [value=close-false_alarm]').click()")
    page.until(lambda: "1 closed, not cleared yet" in page.text("#signals"))
    assert page.text("#signals h2") == "Open signals 12"
    assert first not in page.text("#signals .account-signals")
    page.run("document.querySelector('#signals details.rest:last-of-type').open = true")
    assert f"{first}\nclosed by Lea Vogt, just now: false alarm" in page.text("#signals")
    assert page.findings() == []
    page.picture(shots / "account-handled-light-1280.png")
