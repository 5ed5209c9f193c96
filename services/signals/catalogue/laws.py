"""Laws over the whole catalogue: a changed rule raises its version, a removed id leaves a tombstone, every entry is whole.

`lock.json` holds a content hash per id and version, `retired.txt` the ids that may never come back, and
`schemas/generated/catalogue.json` the description that other processes read.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec

import schemas
from services.signals.catalogue.document import page
from services.signals.catalogue.registry import content_hash, entries
from services.signals.core.signal import FACT_NAMES, Signal

HERE = Path(__file__).parent
LOCK = HERE / "lock.json"
RETIRED = HERE / "retired.txt"
PAGE = HERE.parents[2] / "docs" / "signals.md"
DESCRIPTION = Path(schemas.__file__).parent / "generated" / "catalogue.json"


def described(signals: Iterable[Signal] | None = None) -> list[dict[str, Any]]:
    """Each signal, of the built-in ones or of these, as other processes and people see it, by id."""
    cases = {name: cases for name, (_, cases, _) in entries().items()}
    if signals is None:
        signals = (signal for signal, _, _ in entries().values())
    return [
        {
            "id": signal.id,
            "title": signal.title,
            "version": signal.version,
            "kind": signal.kind,
            "family": signal.family,
            "scope": signal.scope,
            "severity": signal.severity,
            "pages": signal.pages,
            "composite": signal.composite,
            "meaning": signal.meaning,
            "source": signal.source,
            "inputs": list(signal.inputs),
            "needs": list(signal.needs),
            "warming_days": signal.warming_days,
            **({"measures": list(signal.measures)} if signal.measures else {}),
            "reads": [name for fact, name in FACT_NAMES.items() if fact & signal.reads],
            "thresholds": {tier: dict(values) for tier, values in signal.thresholds.items()},
            "action": msgspec.to_builtins(signal.action),
            "cases": [{"name": case.name, "fires": bool(case.expect)} for case in cases.get(signal.id, ())],
        }
        for signal in sorted(signals, key=lambda signal: signal.id)
    ]


def locked() -> dict[str, dict[str, Any]]:
    """The lock as it should be now."""
    return {
        name: {"version": signal.version, "hash": content_hash(module)}
        for name, (signal, _, module) in sorted(entries().items())
    }


def write(same_rules: Collection[str] = ()) -> None:
    """Accept the catalogue as it is, but for broken laws: a rule that changed under its old version, and an id that went
    without a tombstone, stay in the lock as they were, so that `problems` goes on telling of them. `same_rules` names
    entries that were only written differently.
    """
    lock = {name: known for name, known in _lock().items() if name not in _retired()}
    for name, now in locked().items():
        if name in same_rules or not _changed_alone(lock.get(name), now):
            lock[name] = now
    LOCK.write_text(json.dumps(dict(sorted(lock.items())), indent=2) + "\n")
    DESCRIPTION.parent.mkdir(parents=True, exist_ok=True)
    DESCRIPTION.write_text(json.dumps(described(), indent=2, ensure_ascii=False) + "\n")
    if PAGE.parent.is_dir():  # an installed package has no docs
        PAGE.write_text(_page())


def _lock() -> dict[str, dict[str, Any]]:
    lock: dict[str, dict[str, Any]] = json.loads(LOCK.read_text())
    return lock


def _retired() -> list[str]:
    return [line.split()[0] for line in RETIRED.read_text().splitlines() if line and not line.startswith("#")]


def _changed_alone(known: dict[str, Any] | None, now: dict[str, Any]) -> bool:
    """Whether a rule changed and its version did not."""
    return known is not None and known["hash"] != now["hash"] and bool(known["version"] >= now["version"])


def _page() -> str:
    return page(signal for signal, _, _ in entries().values())


def problems() -> list[str]:
    """Every broken law, one line each."""
    found: list[str] = []
    lock, retired, now = _lock(), _retired(), locked()
    for name in now:
        if name in retired:
            found.append(f"{name}: was retired; an id is never used again")
        if name not in lock:
            found.append(f"{name}: not in lock.json; run `ebbtide catalogue check --write`")
        elif _changed_alone(lock[name], now[name]):
            found.append(
                f"{name}: its rule changed and its version did not; raise the version, then write the lock. If it says the "
                f"same of every account as before: `ebbtide catalogue check --write --same-rule {name}`"
            )
        elif lock[name] != now[name]:
            found.append(f"{name}: lock.json is behind; run `ebbtide catalogue check --write`")
    for name in lock:
        if name not in now and name not in retired:
            found.append(f"{name}: removed without a tombstone; add it to retired.txt with the date and the reason")
    for name, (signal, cases, module) in entries().items():
        stem = Path(str(module.__file__)).stem
        if stem != name.replace(".", "_"):
            found.append(f"{name}: its file is {stem}.py and should be {name.replace('.', '_')}.py")
        for text in ("title", "meaning", "source", "severity"):
            if not getattr(signal, text).strip():
                found.append(f"{name}: {text} is empty")
        if signal.scope in ("user", "campaign") and signal.pages:
            found.append(f"{name}: signals of users and campaigns never page")
        if not any(case.expect for case in cases) or not any(not case.expect for case in cases):
            found.append(f"{name}: needs a case that fires and a case that stays silent")
    if not DESCRIPTION.exists() or json.loads(DESCRIPTION.read_text()) != described():
        found.append("schemas/generated/catalogue.json is behind; run `ebbtide catalogue check --write`")
    if PAGE.parent.is_dir() and (not PAGE.exists() or PAGE.read_text() != _page()):
        found.append("docs/signals.md is behind; run `ebbtide catalogue check --write`")
    return found
