"""What the pure core may import: the standard library without its doors to the outside, msgspec, and the schemas."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "services" / "signals" / "core"
ALLOWED = {"msgspec", "schemas", "services.signals.core"}
# A decision must be the same whenever and wherever it is made.
IMPURE = {
    "asyncio",
    "http",
    "logging",
    "multiprocessing",
    "os",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
}
IMPURE |= {"time", "urllib", "uuid"}


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            yield node.module or ""


def _refused(source: str) -> list[str]:
    def allowed(name: str) -> bool:
        top = name.split(".")[0]
        ours = any(name == package or name.startswith(f"{package}.") for package in ALLOWED)
        return ours or (top in sys.stdlib_module_names and top not in IMPURE)

    return [name for name in _imported(source) if not allowed(name)]


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: path.stem)
def test_core_imports_nothing_that_could_surprise_it(path: Path) -> None:
    assert not _refused(path.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "import faust",
        "from services.common.settings import settings",
        "from urllib.request import urlopen",
    ],
)
def test_the_check_can_refuse(line: str) -> None:
    assert _refused(line)
