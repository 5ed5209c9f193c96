"""The operators' file: overrides, measures and signals of their own, without code. `docs/catalogue-file.md` describes it."""

from __future__ import annotations

from services.signals.operators.file import Operators, read
from services.signals.operators.reading import CatalogueFileError, Mistake

__all__ = ["CatalogueFileError", "Mistake", "Operators", "read"]
