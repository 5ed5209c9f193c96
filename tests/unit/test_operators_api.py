"""What the api says of the catalogue is what is in force: with operators' own signals, without those that are off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.api.endpoints import catalogue
from services.cli import serve
from services.common.settings import Settings

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
    catalogue.serve_these([])


def test_the_file_in_force_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "catalogue.yaml"
    file.write_text(FILE)
    monkeypatch.setattr(serve, "settings", lambda: Settings(catalogue_file=file))
    described = serve._in_force()
    assert described is not None
    catalogue.serve_these(described)
    by_id = {entry["id"]: entry for entry in catalogue.entries()}
    assert by_id["own.busy"]["meaning"].startswith("uses: at least 5 in 7 days")
    assert "usage.decline" not in by_id
    assert by_id["usage.silence"]["thresholds"]["high"]["days"] == 7


def test_without_a_file_it_is_the_built_in_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "settings", lambda: Settings(catalogue_file=None))
    assert serve._in_force() is None
    assert "usage.decline" in {entry["id"] for entry in catalogue.entries()}
