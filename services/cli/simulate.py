"""`ebbtide simulate`: an invented portfolio, or Financiality's first year, as a file of events."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import click

from services.demo import portfolio, story
from services.demo.files import write_events, write_labels

EVENTS, LABELS, STORY = "events.ndjson.gz", "labels.csv", "financiality.ndjson"


@click.command()
@click.option("--accounts", type=click.IntRange(1, 100_000), default=220, show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same bytes.")
@click.option("--end", type=click.DateTime(["%Y-%m-%d"]), help="Last day of the portfolio, UTC.  [default: yesterday]")
@click.option(
    "--story", "only_story", is_flag=True, help="Financiality's first year, at its own dates, instead of a portfolio."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def simulate(
    accounts: int, days: int, seed: int, end: dt.datetime | None, only_story: bool, out: Path, as_json: bool
) -> None:
    """Write an invented portfolio: events.ndjson.gz and labels.csv.

    Events stand in the file in order of arrival; a few arrive late or twice, as they do. The labels say what each
    customer was made to be, from when it was in trouble, and when it left.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if only_story:
            last = story.LAST_DAY
            lines = [line for _, line in story.events()]
            files = [out / STORY]
            write_events(out / STORY, lines)
        else:
            last = end.date() if end is not None else dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
            made = portfolio.simulate(accounts, days, seed, last)
            lines = [line for _, line in made.events]
            files = [out / EVENTS, out / LABELS]
            write_events(out / EVENTS, lines)
            write_labels(out / LABELS, made.labels)
    except ValueError as problem:
        raise click.UsageError(str(problem)) from problem
    except OSError as problem:
        raise click.ClickException(f"--out {out}: {problem.strerror or problem}") from problem
    if as_json:
        report = {"events": len(lines), "last_day": last.isoformat(), "files": [str(file) for file in files]}
        click.echo(json.dumps(report))
        return
    for file in files:
        click.echo(file)
    click.echo(f"{len(lines)} events; the last day is {last}", err=True)
