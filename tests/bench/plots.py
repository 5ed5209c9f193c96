"""`python -m tests.bench plots DIR [--out docs/performance]`: pictures of figures that benchmarks wrote by `--json`.

Reads every JSON file in DIR and draws what it finds figures for, one SVG each. The same figures give the same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OUT = Path(__file__).resolve().parent.parent.parent / "docs" / "performance"
INK, SECOND, THIRD = "#1f4e79", "#c55a11", "#7f7f7f"
STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "ebbtide",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
}
Row = dict[str, Any]


def main(arguments: Sequence[str]) -> None:
    """Draw all that there are figures for. Exits with 2 where there are none."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench plots", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the JSON files are")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(arguments)
    reports = [json.loads(path.read_text()) for path in sorted(given.folder.glob("*.json"))]
    given.out.mkdir(parents=True, exist_ok=True)
    drawn = 0
    with mpl.rc_context(STYLE):
        for name, figure in pictures([report for report in reports if "tables" in report]):
            figure.savefig(given.out / f"{name}.svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
            print(given.out / f"{name}.svg")
            drawn += 1
    if not drawn:
        parser.error(
            f"no figures of a benchmark in {given.folder}; write some with `python -m tests.bench NAME --json`"
        )


def pictures(reports: list[dict[str, Any]]) -> Iterator[tuple[str, Figure]]:
    """Name and picture of everything that can be drawn. Of two reports with the same table the later one is drawn."""
    tables: dict[tuple[str, str], list[Row]] = {}
    for report in reports:
        for title, rows in report["tables"].items():
            tables[report["bench"], title] = rows
    for (bench, title), rows in tables.items():
        if bench == "engine" and title.startswith("CPU of one worker"):
            yield _unique("engine", title), _bars(rows, title)
        elif bench == "engine" and title.startswith("Where the CPU goes (by layer)"):
            yield _unique("layers", title), _layers(rows, title)
        elif bench == "latency" and title.startswith("Milliseconds"):
            yield "latency", _latency(rows)
        elif bench == "growth":
            axis = next(iter(rows[0]))
            yield f"growth-{axis}", _growth(rows, axis, title)


def _unique(name: str, title: str) -> str:
    """The stated workload has the plain name; its other forms say what they are."""
    return f"{name}-uniform" if "each on another" in title else f"{name}-steady" if ", steady" in title else name


def _bars(rows: list[Row], title: str) -> Figure:
    figure = Figure(figsize=(7.2, 0.5 + 0.5 * len(rows)))
    axes = figure.subplots()
    rows = rows[::-1]
    values = [row["µs/event"] for row in rows]
    colours = [INK if "ebbtide" in row["what"] else THIRD for row in rows]
    bars = axes.barh([row["what"] for row in rows], values, color=colours)
    axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3)
    axes.set_xscale("log")
    axes.set_xlim(1, max(values) * 2)
    axes.set_xlabel("CPU µs an event (logarithmic)")
    axes.set_title(title, loc="left", fontsize=10)
    return figure


def _layers(rows: list[Row], title: str) -> Figure:
    figure = Figure(figsize=(7.2, 0.5 + 0.3 * len(rows)))
    axes = figure.subplots()
    rows = rows[::-1]
    bars = axes.barh([row["where"] for row in rows], [row["µs/event"] for row in rows], color=INK)
    axes.bar_label(bars, [f"{row['µs/event']:.2g}" for row in rows], padding=3)
    axes.set_xlabel("CPU µs an event")
    axes.set_title(title, loc="left", fontsize=10)
    return figure


def _latency(rows: list[Row]) -> Figure:
    figure = Figure(figsize=(7.2, 0.7 + 0.8 * len(rows)))
    axes = figure.subplots()
    names = [f"{row['phase']}\n{row['offered/s']:,} events/s" for row in rows]
    for where, colour, shift in (("topic", INK, 0.12), ("api", SECOND, -0.12)):
        places = [len(rows) - 1 - index + shift for index in range(len(rows))]
        low, middle, high = ([row[f"{where} {p}"] or float("nan") for row in rows] for p in ("p50", "p95", "p99"))
        axes.hlines(places, low, high, color=colour, linewidth=2)
        axes.plot(
            low, places, "o", color=colour, label=f"readable {'on the topic' if where == 'topic' else 'in the api'}"
        )
        axes.plot(middle, places, "|", color=colour, markersize=12)
        axes.plot(high, places, ">", color=colour)
    axes.set_yticks(range(len(rows) - 1, -1, -1), names)
    axes.set_xscale("log")
    axes.set_xlabel("ms from accepted by ingest: p50 ●, p95 |, p99 ▸ (logarithmic)")
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8, frameon=False)
    return figure


def _growth(rows: list[Row], axis: str, title: str) -> Figure:
    figure = Figure(figsize=(7.2, 3))
    left, right = figure.subplots(1, 2)
    at = [row[axis] for row in rows]
    _line(left, at, [row["µs/event"] for row in rows], INK, "worker" if axis != "workers" else "all workers")
    _line(left, at, [row["broker µs/event"] for row in rows], THIRD, "broker")
    left.set_ylabel("CPU µs an event")
    left.set_ylim(bottom=0)
    left.legend(fontsize=8)
    what = "peak RSS MiB" if axis == "accounts" else "events/s"
    _line(right, at, [row[what] for row in rows], SECOND, what)
    right.set_ylabel(what)
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.set_xscale("log", base=10 if axis == "accounts" else 2)
        axes.set_xticks(at, [f"{value:,}" for value in at])
        axes.minorticks_off()
        axes.set_xlabel(axis)
    figure.suptitle(title, x=0.02, ha="left", fontsize=10)
    figure.tight_layout()
    return figure


def _line(axes: Axes, at: list[float], values: list[float], colour: str, label: str) -> None:
    axes.plot(at, values, "o-", color=colour, label=label)
