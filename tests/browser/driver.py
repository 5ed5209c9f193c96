"""A real Chromium without a screen, and what it has to say of a page: axe's findings, reports of the content policy, errors."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM: Final = "/usr/bin/chromium"
CHROMEDRIVER: Final = "/usr/bin/chromedriver"
AXE: Final = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
TAGS: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
NOT_HERE: Final = {"region": {"enabled": False}}
"""The skip link and the live region stand outside landmarks on purpose."""
WIDE, NARROW = (1280, 900), (360, 780)
HIGHEST: Final = 3000
WITHIN_S: Final = 30.0
GONE: Final = (StaleElementReferenceException,)
"""A page that comes takes away what was found on the one before."""

WATCH: Final = """
window.__heard = [];
document.addEventListener('securitypolicyviolation', e =>
  window.__heard.push('policy: ' + e.violatedDirective + ' ' + e.blockedURI));
addEventListener('error', e => window.__heard.push('error: ' + e.message));
addEventListener('unhandledrejection', e => window.__heard.push('rejection: ' + e.reason));
new PerformanceObserver(list => { for (const e of list.getEntries()) if (!e.hadRecentInput && e.value > 0.001)
  window.__heard.push('layout shift: ' + e.value.toFixed(4)); }).observe({type: 'layout-shift', buffered: true});
"""


class Browser:
    """One browser with one profile. `base` is the service's address."""

    def __init__(self, base: str, folder: Path, *, scripts: bool = True) -> None:
        self.base = base
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--force-device-scale-factor=1",
            "--hide-scrollbars",
            f"--user-data-dir={folder}",
        ):
            options.add_argument(argument)
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, Service(CHROMEDRIVER))
        self.scripts = scripts
        self.driver.set_page_load_timeout(30)
        if scripts:
            self.command("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        self.size(WIDE)

    def close(self) -> None:
        """End the browser."""
        self.driver.quit()

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def size(self, size: tuple[int, int]) -> None:
        """The window's inner size in CSS pixels."""
        self._window = size
        self.command(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
        )

    def scheme(self, name: str) -> None:
        """`light` or `dark`, as the system prefers."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def zone(self, name: str) -> None:
        """The zone that the system is in."""
        self.command("Emulation.setTimezoneOverride", timezoneId=name)

    def open(self, path: str) -> None:
        """Go to a page."""
        self.driver.get(self.base + path)

    def sign_in(self, key: str, to: str = "/queue") -> None:
        """Paste a key, and be at a page."""
        self.open(f"/sign-in?next={to}")
        self.find("#key").send_keys(key)
        self.find("main form button").click()
        self.until(lambda: "/sign-in" not in self.path)

    @property
    def path(self) -> str:
        """Where we are, without the address."""
        return self.driver.current_url.removeprefix(self.base)

    def find(self, css: str) -> WebElement:
        """The first element that matches; waits for it."""
        return WebDriverWait(self.driver, WITHIN_S).until(lambda d: d.find_element(By.CSS_SELECTOR, css))

    def every(self, css: str) -> list[WebElement]:
        """All elements that match, now."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def until(self, probe: Any, within: float = WITHIN_S) -> Any:
        """Wait until `probe()` holds."""
        return WebDriverWait(self.driver, within, ignored_exceptions=GONE).until(lambda _: probe())

    def press(self, *keys: str) -> None:
        """Keys, one after the other, at whatever has the focus."""
        for key in keys:
            webdriver.ActionChains(self.driver).send_keys(key).perform()

    def run(self, script: str, *arguments: Any) -> Any:
        """A script in the page; its return value."""
        return self.driver.execute_script(script, *arguments)

    def text(self, css: str) -> str:
        """The text of the first element that matches; waits for it."""
        found: list[str] = WebDriverWait(
            self.driver, WITHIN_S, ignored_exceptions=(*GONE, NoSuchElementException)
        ).until(lambda d: [d.find_element(By.CSS_SELECTOR, css).text])
        return found[0]

    # --- what is wrong with a page ---------------------------------------------------------------------------------

    def findings(self) -> list[str]:
        """Each thing that axe finds wrong with the page as it is, with the element."""
        self.command("Runtime.evaluate", expression=AXE.read_text())
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {runOnly: arguments[0], rules: arguments[1], resultTypes: ['violations']})"
            ".then(r => done(r.violations.flatMap(v => v.nodes.map(n => v.id + ': ' + n.target.join(' ') + ' '"
            " + (n.failureSummary || '').replace(/\\s+/g, ' '))))).catch(e => done(['axe failed: ' + e]))",
            list(TAGS),
            NOT_HERE,
        )
        return list(found)

    def heard(self) -> list[str]:
        """Reports of the content policy, errors and layout shifts since the page was opened, and errors in its log."""
        found: list[str] = list(self.run("return window.__heard || []")) if self.scripts else []
        for line in self.driver.get_log("browser"):
            if line["level"] in ("SEVERE", "WARNING"):
                found.append(f"{line['level']}: {line['message']}")
        return found

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def picture(self, path: Path) -> None:
        """The page as PNG, as in a window of the same width that is as high as the page, up to `HIGHEST`."""
        size = self._window
        height = int(self.run("return document.documentElement.scrollHeight"))
        self.size((size[0], max(size[1], min(HIGHEST, height))))
        made = self.command("Page.captureScreenshot", format="png")
        self.size(size)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(made["data"]))

    def bytes_received(self) -> dict[str, int]:
        """Bytes on the wire of everything the page loaded, by URL; compressed as they came."""
        entries = self.run(
            "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".map(e => [e.name, e.transferSize])"
        )
        return {name: int(size) for name, size in entries}


@contextlib.contextmanager
def browser(base: str, folder: Path, *, scripts: bool = True) -> Iterator[Browser]:
    """A browser until the block ends."""
    made = Browser(base, folder, scripts=scripts)
    try:
        yield made
    finally:
        made.close()
