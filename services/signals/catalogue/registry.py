"""Finds the catalogue's files, builds the catalogue in force, and computes its hash."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import services.signals.catalogue as folder
from services.signals.catalogue.definition import Case, Signal
from services.signals.core.signal import Catalogue

NOT_ENTRIES = frozenset({"definition", "document", "laws", "registry"})


@lru_cache(maxsize=1)
def entries() -> dict[str, tuple[Signal, list[Case], ModuleType]]:
    """Every entry by signal id. Raises ValueError where a file lacks SIGNAL or CASES, or two files share an id."""
    found: dict[str, tuple[Signal, list[Case], ModuleType]] = {}
    for info in sorted(pkgutil.iter_modules(folder.__path__), key=lambda info: info.name):
        if info.name in NOT_ENTRIES:
            continue
        module = importlib.import_module(f"{folder.__name__}.{info.name}")
        signal, cases = getattr(module, "SIGNAL", None), getattr(module, "CASES", None)
        if not isinstance(signal, Signal) or not isinstance(cases, list):
            raise ValueError(f"{module.__file__}: a catalogue file defines SIGNAL (a Signal) and CASES (a list)")
        if signal.id in found:
            raise ValueError(f"{module.__file__}: {signal.id} is defined in {found[signal.id][2].__file__} already")
        found[signal.id] = (signal, cases, module)
    return found


def content_hash(module: ModuleType) -> str:
    """Hash of an entry's source text without its cases: any change of a rule changes it."""
    return hashlib.sha256(inspect.getsource(module).split("\nCASES = ")[0].encode()).hexdigest()[:16]


def load(operators: Path | None = None) -> Catalogue:
    """The catalogue in force: the built-in one, with the operators' file laid over it where one is given.

    Raises CatalogueFileError, a ValueError, that names every mistake of the file.
    """
    found = entries()
    digest = hashlib.sha256("".join(content_hash(module) for _, _, module in found.values()).encode()).hexdigest()[:16]
    built_in = Catalogue([signal for signal, _, _ in found.values()], digest)
    if operators is None:
        return built_in
    from services.signals.operators import read  # its conditions are made of what this package defines

    return read(operators, built_in.by_id).over(built_in)
