"""`python -m tests.bench` runs all benchmarks in their small sizes; `python -m tests.bench NAME [--help]` one of them.

Each prints tables with its yardsticks measured in the same run, stops what it started, and ends by itself. With `--json`
the figures are written too: to a file for one benchmark, to a folder for all. `python -m tests.bench plots DIR` draws them,
`python -m tests.bench sizing` says what a rate of events needs.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import signal
import sys
from pathlib import Path
from types import ModuleType

PREFIX = "bench_"
TOOLS = ("plots", "sizing")


def main() -> None:
    """Run the benchmark or tool that is named, or all benchmarks."""
    # As an exception: what a benchmark started is stopped on its way out, however it is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    there = sorted(path.stem.removeprefix(PREFIX) for path in Path(__file__).parent.glob(f"{PREFIX}*.py"))
    name, arguments = (sys.argv[1], sys.argv[2:]) if sys.argv[1:] and sys.argv[1][0] != "-" else (None, sys.argv[1:])
    if name in TOOLS:
        importlib.import_module(f"tests.bench.{name}").main(arguments)
    elif name in there:
        run(name, arguments)
    elif name is not None:
        sys.exit(f"no such benchmark: {name}; there are: {', '.join(there)}; and the tools {', '.join(TOOLS)}")
    else:
        parser = argparse.ArgumentParser(
            prog="python -m tests.bench",
            description=__doc__,
            epilog=f"benchmarks: {', '.join(there)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("--json", type=Path, metavar="DIR", help="write the figures to files in this folder")
        folder = parser.parse_args(arguments).json
        for each in there:
            run(each, [] if folder is None else ["--json", str(folder / f"{each}.json")])


def run(name: str, arguments: list[str]) -> None:
    """Run one benchmark. Those that only print take no options."""
    print(f"--- {name}", flush=True)
    module: ModuleType = importlib.import_module(f"tests.bench.{PREFIX}{name}")
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
