"""The catalogue: one file per signal. `load` finds them, applies operators' overrides, and refuses what breaks the laws."""

from __future__ import annotations

from services.signals.catalogue.registry import entries, load

__all__ = ["entries", "load"]
