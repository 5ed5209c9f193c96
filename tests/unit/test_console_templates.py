"""What the content policy of the console forbids is not in its templates, and what it is made of is what was locked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from services.api.console import assets, vendor
from services.api.console.render import POLICY, TEMPLATES, environment

FORBIDDEN: Final = {
    "inline style": re.compile(r"\sstyle\s*=|<style\b", re.I),
    "inline script": re.compile(r"<script\b(?![^>]*\bsrc=)", re.I),
    "event attribute": re.compile(r"\son[a-z]+\s*=", re.I),
    "hx-on": re.compile(r"\bhx-on\b", re.I),
    "script in a value": re.compile(r"\b(js|javascript):", re.I),
    "trigger filter": re.compile(r"hx-trigger[^>]*\[", re.I),
    "without escape": re.compile(r"\|\s*safe\b|autoescape\s+false", re.I),
    "other host": re.compile(r"""(src|href|action)=["'](https?:)?//""", re.I),
}


def problems(text: str) -> list[str]:
    """What in a template breaks a law."""
    return [name for name, pattern in FORBIDDEN.items() if pattern.search(text)]


def test_no_template_breaks_a_law() -> None:
    found = {path.name: problems(path.read_text()) for path in TEMPLATES.rglob("*.html")}
    assert len(found) > 10
    assert {name: broken for name, broken in found.items() if broken} == {}


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ('<p style="color:red">', "inline style"),
        ("<script>go()</script>", "inline script"),
        ('<a onclick="go()">', "event attribute"),
        ('<a hx-on:click="go()">', "hx-on"),
        ("<a hx-vals='js:{a: 1}'>", "script in a value"),
        ('<a hx-trigger="click[ctrlKey]">', "trigger filter"),
        ("{{ name|safe }}", "without escape"),
        ('<script src="https://cdn.example/x.js"></script>', "other host"),
    ],
)
def test_each_law_has_something_that_breaks_it(text: str, broken: str) -> None:
    assert problems(text) == [broken]


def test_every_template_compiles() -> None:
    for path in TEMPLATES.rglob("*.html"):
        environment.get_template(path.relative_to(TEMPLATES).as_posix())


def test_the_policy_allows_our_own_files_only() -> None:
    sources = {source for part in POLICY.split(";") for source in part.split()[1:]}
    assert sources == {"'none'", "'self'"}


def test_what_is_not_ours_is_what_was_locked() -> None:
    for package in vendor.lock():
        files = {file.name: (vendor.FOLDER / file.name).read_bytes() for file in package.files}
        assert vendor.differing(package, files) == []
        assert package.licence_text in files
        first = package.files[0].name
        assert vendor.differing(package, files | {first: files[first] + b" "}) == [first]
    locked = {file.name for package in vendor.lock() for file in package.files} | {vendor.LOCK.name}
    assert {path.name for path in vendor.FOLDER.iterdir()} == locked


def test_a_static_file_is_named_by_its_bytes(tmp_path: Path) -> None:
    asset = assets.assets()["console.css"]
    assert re.fullmatch(r"/static/console\.[0-9a-f]{12}\.css", asset.url)
    assert "vendor/htmx.min.js" in assets.assets()
    assert not any(name.endswith(".json") for name in assets.assets())


def test_our_own_script_is_small() -> None:
    assert len(assets.assets()["console.js"].compressed) <= 6 * 1024
