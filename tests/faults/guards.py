"""Guards that can be taken out of a worker process, to show that the suite notices.

A guard is taken out by changing the product's source text before it is imported. Where the text is not found once, the
product has changed: say here how its guard looks now.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Final, NamedTuple

RUNTIME: Final = "services.signals.runtime."
ROOT: Final = Path(__file__).parents[2]
PARTITION: Final = "services.signals.core.partition"


class Change(NamedTuple):
    """In module `module` the text `old` becomes `new`."""

    module: str
    old: str
    new: str


_HOLES = (
    Change(RUNTIME + "source", "if self._retried.get(tp) != expected:", "if False:"),
    Change(
        RUNTIME + "stream",
        "if past is None or past > found:",
        "if past is None:\n                return\n            if False:",
    ),
)
_REBALANCE = (
    Change(
        RUNTIME + "source",
        "return calm and self._calm() and self.app.consumer_generation_id == generation",
        "return True",
    ),
)

GUARDS: Final[dict[str, tuple[Change, ...]]] = {
    "rebalance guard": _REBALANCE,
    "hole detector": _HOLES,
    "rebalance guard and hole detector": (*_REBALANCE, *_HOLES),
    "epoch fence": (Change(RUNTIME + "fence", "if epoch < self.newest:", "if False:"),),
    "foreign-write check": (Change(RUNTIME + "effects", "if metadata.offset == expected:", "if True:"),),
    "outbox resent when a partition is opened": (Change(PARTITION, "if effect == own.effect:", "if False:"),),
    "outbox resent on first touch": (
        Change(
            PARTITION,
            "            if hot.outbox:\n                self._resend",
            "            if False:\n                self._resend",
        ),
    ),
    "position after state": (
        Change(
            RUNTIME + "stream",
            "yield batch\n                self._applied(batch)",
            "self._applied(batch)\n                yield batch",
        ),
        # As long as a slow broker takes: positions are committed meanwhile.
        Change(RUNTIME + "effects", 'self._reach("before-dead-letters")', "await asyncio.sleep(0.8)"),
    ),
    "dead letters before state": (
        Change(
            RUNTIME + "effects", "        await asyncio.gather(*await self._send_all(self._letters(effects)))\n", ""
        ),
        Change(
            RUNTIME + "effects",
            '        self._reach("signals-acknowledged")\n',
            '        self._reach("signals-acknowledged")\n'
            "        await asyncio.gather(*await self._send_all(self._letters(effects)))\n",
        ),
    ),
    "dedupe by offset": (
        Change(
            PARTITION,
            "if offset <= state.applied[topic] or (state.midways and self._was_applied(topic, offset, key)):",
            "if False:",
        ),
        Change(PARTITION, "if offset <= hot.offsets[topic]:", "if False:"),
    ),
    "dedupe by id": (Change(PARTITION, "and self._seen(account, event, identity, clock):", "and account.id is None:"),),
}


def remove(guard: str) -> None:
    """Take a guard out of this process, before anything of the engine is imported. Raises LookupError."""
    changes: dict[str, list[Change]] = {}
    for change in GUARDS[guard]:
        changes.setdefault(change.module, []).append(change)
    for name, own in changes.items():
        _import_changed(name, own)


def missing() -> list[str]:
    """Guards whose text is not once in the product: they could not be taken out."""
    return [
        f"{guard}: {change.old!r} in {change.module}"
        for guard, changes in GUARDS.items()
        for change in changes
        if (ROOT / (change.module.replace(".", "/") + ".py")).read_text().count(change.old) != 1
    ]


def _import_changed(name: str, changes: list[Change]) -> None:
    assert name not in sys.modules, f"{name} was imported already"
    package, _, last = name.rpartition(".")
    parent = importlib.import_module(package)
    path = Path(str(parent.__file__)).with_name(last + ".py")
    text = path.read_text()
    for change in changes:
        if text.count(change.old) != 1:
            raise LookupError(f"{path}: not once in it, so the guard cannot be taken out: {change.old!r}")
        text = text.replace(change.old, change.new)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    setattr(parent, last, module)
    exec(compile(text, str(path), "exec"), module.__dict__)
