"""`ebbtide backtest`: recorded events through the core, without Kafka and Postgres."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click

from services.cli.catalogue import loaded, operators_file
from services.common import recording
from services.signals.backtest.run import Backtest
from services.signals.core.transitions import encode


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@operators_file
@click.option("--signals", default="", help="print only these signals, separated by commas; all are still judged")
@click.option("--until", type=click.DateTime(formats=["%Y-%m-%d"]), help="end with the midnight that ends this day")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="also write transitions.ndjson and summary.json there",
)
def backtest(
    files: tuple[Path, ...], file: Path | None, signals: str, until: dt.datetime | None, out: Path | None
) -> None:
    """Print the signal transitions that FILES (NDJSON, gzip or not) give, in order of time, as the topics would carry them.

    Several files are merged by time. Refused lines are counted on stderr and stop nothing.
    """
    catalogue = loaded(file)
    wanted = {name.strip() for name in signals.split(",") if name.strip()}
    unknown = sorted(wanted - set(catalogue.by_id))
    if unknown:
        known = ", ".join(catalogue.by_id)
        raise click.UsageError(f"--signals: no such signal: {', '.join(unknown)}. There are: {known}")
    run = Backtest(catalogue, until=until.date() if until else None, run_start_us=int(time.time() * 1e6))
    counts: dict[str, int] = {}
    try:
        with ExitStack() as stack:
            targets = [sys.stdout.buffer]
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                targets.append(stack.enter_context((out / "transitions.ndjson").open("wb")))
            for change in run.run(recording.merge([recording.read(path) for path in files])):
                if wanted and change.data.signal not in wanted:
                    continue
                name = f"{change.data.signal} {change.type.removeprefix('signal.')}"
                counts[name] = counts.get(name, 0) + 1
                line = encode(change) + b"\n"
                for target in targets:
                    target.write(line)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise  # the reader has enough: click ends quietly
    except OSError as error:
        raise click.ClickException(str(error)) from error
    if out is not None:
        summary = {"transitions": dict(sorted(counts.items())), "refused": dict(run.refused), **run.counts}
        (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    _report(run, sum(counts.values()))


def _report(run: Backtest, printed: int) -> None:
    counts = run.counts
    click.echo(
        f"{counts['records']} lines: {counts['applied']} applied, {counts['duplicate']} duplicate, "
        f"{counts['dead']} refused; {printed} transitions",
        err=True,
    )
    for reason, count in sorted(run.refused.items()):
        click.echo(f"  refused, {reason}: {count}", err=True)
    for raw, refusal in run.first_refusals:
        where = f" at {refusal.field}" if refusal.field else ""
        click.echo(f"  {refusal.reason}{where}: {refusal.detail}  <- {raw[:80].decode(errors='replace')}", err=True)
