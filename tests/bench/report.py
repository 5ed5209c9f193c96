"""What a benchmark says: tables for people, the same figures as JSON for the plots."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

Cell = str | int | float | None


@dataclass
class Table:
    """Rows under a title. Floats are shown with three significant digits, nothing measured as a dash."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Cell]] = field(default_factory=list)

    def __str__(self) -> str:
        shown = [list(self.columns), *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in shown) for i in range(len(self.columns))]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in shown
        ]
        return "\n".join([self.title, lines[0], "-" * len(lines[0]), *lines[1:]])


@dataclass
class Report:
    """The result of one benchmark: what was asked for, its tables, and remarks without which they would mislead."""

    bench: str
    given: dict[str, Cell]
    tables: list[Table] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self.tables), *("Note: " + remark for remark in self.remarks)])

    def write(self, path: Path) -> None:
        """As JSON: one object per row, keyed by the columns."""
        said = {
            "bench": self.bench,
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "given": self.given,
            "remarks": self.remarks,
            "tables": {
                table.title: [dict(zip(table.columns, row, strict=True)) for row in table.rows] for table in self.tables
            },
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(said, indent=1) + "\n")


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` (0-1) of `values` do not exceed. ValueError where there are none."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
