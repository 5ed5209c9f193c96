"""`ebbtide catalogue`: what signals there are, what each means, and whether the catalogue keeps its laws."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from services.signals.catalogue import laws
from services.signals.catalogue.registry import entries


@click.group()
def catalogue() -> None:
    """The signals in force."""


@catalogue.command("list")
@click.option("--json", "as_json", is_flag=True, help="for programs")
def list_signals(as_json: bool) -> None:
    """One line per signal."""
    described = laws.described()
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    for entry in described:
        click.echo(f"{entry['id']:32} v{entry['version']}  {entry['kind']:11} {entry['scope']:8} {entry['title']}")


@catalogue.command()
@click.argument("signal_id", required=False)
@click.option("--json", "as_json", is_flag=True, help="for programs")
def show(signal_id: str | None, as_json: bool) -> None:
    """Everything about one signal, or about all."""
    described = laws.described()
    if signal_id is not None:
        described = [entry for entry in described if entry["id"] == signal_id]
        if not described:
            raise click.UsageError(f"no such signal: {signal_id}. There are: {', '.join(entries())}")
    if as_json:
        click.echo(json.dumps(described if signal_id is None else described[0], indent=2))
        return
    for entry in described:
        for name, value in entry.items():
            click.echo(f"{name:12} {json.dumps(value) if isinstance(value, dict | list) else value}")
        click.echo()


@catalogue.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--write", is_flag=True, help="accept the catalogue as it is: rewrite lock and description (developers)")
def check(file: Path | None, write: bool) -> None:
    """Check the laws of the catalogue: identity, versions against the lock, tombstones, texts and cases."""
    if file is not None:
        raise click.ClickException(
            f"{file}: overrides are not supported by this version; only the built-in catalogue is checked"
        )
    if write:
        laws.write()
    problems = laws.problems()
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)
    click.echo(f"{len(entries())} signals, all laws hold")
