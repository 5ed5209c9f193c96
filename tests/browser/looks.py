"""A page in both schemes and sizes: pictures of it, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.browser.driver import NARROW, WIDE, Browser

LOOKS: Final = [(scheme, size) for scheme in ("light", "dark") for size in (WIDE, NARROW)]


def looked_at(page: Browser, shots: Path, name: str, *, ready: str = "main h1") -> None:
    """The page where the browser is. Asserts that nothing is wider than the window, and that axe and the log are silent."""
    where = page.path
    page.heard()  # what pages before this one said
    for scheme, size in LOOKS:
        page.scheme(scheme)
        page.size(size)
        page.open(where)
        page.find(ready)
        page.picture(shots / f"{name}-{scheme}-{size[0]}.png")
        assert page.overflow() <= 0, f"{name} {scheme} {size}"
        assert page.findings() == [], f"{name} {scheme} {size}"
        assert [line for line in page.heard() if not line.startswith("layout shift")] == []
    page.size(WIDE)
    page.scheme("light")
