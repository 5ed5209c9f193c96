"""`python -m tests.bench` runs all benchmarks in their small sizes; `python -m tests.bench NAME [--help]` one of them.

Each prints tables with its yardsticks measured in the same run, stops what it started, and ends by itself. `--json FILE`
writes the figures for `python -m tests.bench plots DIR`.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

PREFIX = "bench_"


def main() -> None:
    """Run the benchmark that is named, or all."""
    there = sorted(path.stem.removeprefix(PREFIX) for path in Path(__file__).parent.glob(f"{PREFIX}*.py"))
    arguments = sys.argv[1:]
    if arguments[:1] == ["plots"]:
        importlib.import_module("tests.bench.plots").main(arguments[1:])
        return
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        print("benchmarks:", ", ".join(there))
        return
    if arguments and arguments[0] not in there:
        sys.exit(f"no such benchmark: {arguments[0]}; there are: {', '.join(there)}")
    for name in arguments[:1] or there:
        print(f"--- {name}", flush=True)
        run(name, importlib.import_module(f"tests.bench.{PREFIX}{name}"), arguments[1:])


def run(name: str, module: ModuleType, arguments: list[str]) -> None:
    """Run one benchmark. Those of a single function take no options."""
    if not hasattr(module, "options"):
        module.main()
        return
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.bench {name}",
        description=inspect.getdoc(module),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    module.options(parser)
    given = parser.parse_args(arguments)
    report = module.run(given)
    print(report, flush=True)
    if given.json is not None:
        report.write(given.json)


if __name__ == "__main__":
    main()
