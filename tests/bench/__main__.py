"""`python -m tests.bench [NAME…]` runs the benchmarks (all, or those named), one after the other, and times nothing itself."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

PREFIX = "bench_"


def main() -> None:
    """Run `main()` of every module here whose name says that it is a benchmark."""
    there = sorted(path.stem.removeprefix(PREFIX) for path in Path(__file__).parent.glob(f"{PREFIX}*.py"))
    unknown = sorted(set(sys.argv[1:]) - set(there))
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(there)}")
    for name in sys.argv[1:] or there:
        print(f"--- {name}", flush=True)
        importlib.import_module(f"tests.bench.{PREFIX}{name}").main()


if __name__ == "__main__":
    main()
