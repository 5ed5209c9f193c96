"""What the api says of the catalogue is what is in force: with operators' own signals, without those that are off."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.api.endpoints import catalogue
from services.api.judged_by import Since, since
from services.cli import serve
from services.common.settings import Settings
from services.signals.catalogue import load

FILE = """
signals:
  usage.decline: {enabled: false}
  usage.silence: {thresholds: {high: {days: 7}}}
  own.busy:
    kind: opportunity
    title: Busy
    when: {count: usage, at_least: 5, days: 7}
    action: Ask
    owner: sales
"""


@pytest.fixture(autouse=True)
def afterwards() -> Iterator[None]:
    yield
    catalogue.serve_this(None)


def test_the_file_in_force_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "catalogue.yaml"
    file.write_text(FILE)
    monkeypatch.setattr(serve, "settings", lambda: Settings(catalogue_file=file))
    found = serve._in_force()
    assert found is not None
    assert (found.file, found.digest) == (str(file), load(file).digest)
    assert found.digest != load(None).digest
    catalogue.serve_this(found)
    by_id = {entry["id"]: entry for entry in catalogue.entries()}
    assert by_id["own.busy"]["meaning"].startswith("uses: at least 5 in 7 days")
    assert "usage.decline" not in by_id
    assert by_id["usage.silence"]["thresholds"]["high"]["days"] == 7


def test_without_a_file_it_is_the_built_in_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "settings", lambda: Settings(catalogue_file=None))
    assert serve._in_force() is None
    assert "usage.decline" in {entry["id"] for entry in catalogue.entries()}


def test_since_when_a_catalogue_is_in_force_is_told_by_what_was_raised() -> None:
    at = [dt.datetime(2026, 5, day, tzinfo=dt.UTC) for day in (9, 7, 5, 3)]
    assert since(zip(at, ("new", "new", "old", "old"), strict=True), "new") == Since(at[1], True, 4)
    # A worker that still ran with the file before it, beside one that has the new one.
    assert since(zip(at, ("new", "old", "new", "old"), strict=True), "new") == Since(at[2], True, 4)
    assert since(zip(at, ("new",) * 4, strict=True), "new") == Since(at[3], False, 4)
    assert since(zip(at, ("old", "old", None, "old"), strict=True), "new") == Since(None, False, 4)
    assert since([], "new") == Since(None, False, 0)
