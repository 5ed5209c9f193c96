"""The laws of the catalogue hold, and each of them can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.signals.catalogue import entries, laws


def test_laws_hold() -> None:
    assert laws.problems() == []


def _lock_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]) -> list[str]:
    lock = laws.locked() | change
    path = tmp_path / "lock.json"
    path.write_text(json.dumps(lock))
    monkeypatch.setattr(laws, "LOCK", path)
    return laws.problems()


def test_a_changed_rule_must_raise_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = entries()["usage.decline"][0].version
    found = _lock_with(tmp_path, monkeypatch, {"usage.decline": {"version": version, "hash": "of another rule"}})
    assert len(found) == 1
    assert found[0].startswith("usage.decline: its rule changed and its version did not; raise the version")


def test_writing_the_lock_does_not_hide_a_broken_law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DESCRIPTION", "PAGE"):
        monkeypatch.setattr(laws, name, tmp_path / name)
    other = {"version": entries()["usage.decline"][0].version, "hash": "of another rule"}
    older = {"version": entries()["health.drop"][0].version - 1, "hash": "of another rule"}
    gone = {"version": 1, "hash": "x"}
    broken = _lock_with(tmp_path, monkeypatch, {"usage.decline": other, "usage.gone": gone, "health.drop": older})
    laws.write()
    told = [problem.partition(":")[0] for problem in laws.problems()]
    assert told == ["usage.decline", "usage.gone"]
    assert len(broken) > len(told), "a raised version is accepted"
    laws.write(["usage.decline"])
    monkeypatch.setattr(laws, "RETIRED", tmp_path / "retired.txt")
    (tmp_path / "retired.txt").write_text("usage.gone 2026-01-01 nobody asked for it\n")
    laws.write()
    assert laws.problems() == []
    assert json.loads(laws.LOCK.read_text()) == laws.locked()


def test_a_removed_signal_leaves_a_tombstone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _lock_with(tmp_path, monkeypatch, {"usage.gone": {"version": 1, "hash": "x"}})
    assert len(found) == 1
    assert found[0].startswith("usage.gone: removed without a tombstone")


def test_a_retired_id_may_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "retired.txt"
    path.write_text("usage.decline 2026-01-01 replaced\n")
    monkeypatch.setattr(laws, "RETIRED", path)
    assert laws.problems() == ["usage.decline: was retired; an id is never used again"]


def test_the_description_must_be_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalogue.json"
    path.write_text("[]")
    monkeypatch.setattr(laws, "DESCRIPTION", path)
    assert laws.problems() == ["schemas/generated/catalogue.json is behind; run `ebbtide catalogue check --write`"]
