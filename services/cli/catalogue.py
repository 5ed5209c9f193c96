"""`ebbtide catalogue`: what signals there are, whether the catalogue keeps its laws, and what an operators' file would do."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from services.common import recording
from services.signals.catalogue import laws, load
from services.signals.catalogue.registry import entries
from services.signals.core.signal import Catalogue

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SHOWN_ACCOUNTS = 10
SAY_EVERY_S = 5.0

operators_file = click.option(
    "--catalogue",
    "file",
    type=FILE,
    envvar="EBBTIDE_CATALOGUE_FILE",
    help="with this operators' file (YAML) laid over it; EBBTIDE_CATALOGUE_FILE unless given",
)
as_json_option = click.option("--json", "as_json", is_flag=True, help="for programs")


@click.group()
def catalogue() -> None:
    """The signals in force."""


def loaded(file: Path | None) -> Catalogue:
    """The catalogue in force. Every mistake of the file is a line of the error."""
    try:
        return load(file)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@catalogue.command("list")
@operators_file
@as_json_option
def list_signals(file: Path | None, as_json: bool) -> None:
    """One line per signal."""
    described = laws.described(loaded(file).signals)
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    for entry in described:
        click.echo(f"{entry['id']:32} v{entry['version']}  {entry['kind']:11} {entry['scope']:8} {entry['title']}")


@catalogue.command()
@click.argument("signal_id", required=False)
@operators_file
@as_json_option
def show(signal_id: str | None, file: Path | None, as_json: bool) -> None:
    """Everything about one signal, or about all."""
    in_force = loaded(file)
    described = laws.described(in_force.signals)
    if signal_id is not None:
        described = [entry for entry in described if entry["id"] == signal_id]
        if not described:
            raise click.UsageError(f"no such signal: {signal_id}. There are: {', '.join(sorted(in_force.by_id))}")
    if as_json:
        click.echo(json.dumps(described if signal_id is None else described[0], indent=2))
        return
    for entry in described:
        for name, value in entry.items():
            click.echo(f"{name:12} {json.dumps(value) if isinstance(value, dict | list) else value}")
        click.echo()


@catalogue.command()
@click.argument("file", required=False, type=FILE)
@click.option("--write", is_flag=True, help="accept the catalogue as it is: rewrite lock and description (developers)")
@click.option(
    "--same-rule",
    "same_rules",
    multiple=True,
    metavar="ID",
    help="with --write: this one is written differently and says the same, so it keeps its version",
)
@as_json_option
def check(file: Path | None, write: bool, same_rules: tuple[str, ...], as_json: bool) -> None:
    """Check an operators' FILE, every mistake at once; without one, the laws of the built-in catalogue.

    The laws: identity, versions against the lock, tombstones, texts and cases.
    """
    if file is not None:
        if write:
            raise click.UsageError("--write accepts the built-in catalogue; it takes no FILE")
        _check_file(file, as_json)
        return
    if same_rules and not write:
        raise click.UsageError("--same-rule goes with --write")
    if unknown := sorted(set(same_rules) - set(entries())):
        raise click.UsageError(f"no such signal: {unknown[0]}")
    if write:
        laws.write(same_rules)
    problems = laws.problems()
    if as_json:
        click.echo(json.dumps({"ok": not problems, "problems": problems}))
    elif not problems:
        click.echo(f"{len(entries())} signals, all laws hold")
    else:
        for problem in problems:
            click.echo(problem, err=True)
    if problems:
        sys.exit(1)


def _check_file(file: Path, as_json: bool) -> None:
    from services.signals.operators import CatalogueFileError, read

    built_in = load()
    try:
        operators = read(file, built_in.by_id)
    except CatalogueFileError as error:
        if as_json:
            mistakes = [{"path": one.path, "why": one.why, "fix": one.fix} for one in error.mistakes]
            click.echo(json.dumps({"ok": False, "mistakes": mistakes}))
        else:
            for mistake in error.mistakes:
                click.echo(str(mistake), err=True)
            click.echo(f"{file}: {_count(len(error.mistakes), 'mistake')}; nothing of it is used", err=True)
        sys.exit(1)
    in_force = operators.over(built_in)
    if as_json:
        click.echo(json.dumps({"ok": True, "catalogue": in_force.digest, **operators.meaning()}))
        return
    click.echo(
        f"{file}: {_count(len(operators.signals), 'own signal')}, {_count(len(operators.measures), 'measure')}, "
        f"thresholds of {_count(len(operators.thresholds), 'signal')}, {_count(len(operators.disabled), 'signal')} off, "
        f"{_count(len(operators.features), 'feature')}, weights of {_count(len(operators.weights), 'tier')}; "
        f"catalogue {in_force.digest} with {_count(len(in_force.signals), 'signal')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# --- preview -------------------------------------------------------------------------------------------------------


@catalogue.command()
@click.argument("file", type=FILE)
@click.argument("more", metavar="[RECORDING]...", nargs=-1, type=FILE)
@click.option(
    "--events", "recordings", metavar="RECORDING", multiple=True, required=True, type=FILE, help="recorded events"
)
@click.option("--until", type=click.DateTime(formats=["%Y-%m-%d"]), help="end with the midnight that ends this day")
@click.option("--all", "all_accounts", is_flag=True, help=f"list every account, not the first {SHOWN_ACCOUNTS}")
@as_json_option
def preview(
    file: Path,
    more: tuple[Path, ...],
    recordings: tuple[Path, ...],
    until: dt.datetime | None,
    all_accounts: bool,
    as_json: bool,
) -> None:
    """Judge recorded events (NDJSON, gzip or not; several are merged by time) with FILE and without it.

    Says per signal how many accounts and which would fire and when, and what FILE changes. The engine is that of backtest.
    """
    from services.signals.backtest.preview import SignalPreview, Told, compare
    from services.signals.backtest.preview import as_json as entry_of
    from services.signals.backtest.run import Backtest

    built_in, in_force = load(), loaded(file)
    now = int(time.time() * 1e6)
    files = [*recordings, *more]

    def told(of: Catalogue, what: str) -> tuple[Told, Backtest]:
        run = Backtest(of, until=until.date() if until else None, run_start_us=now)
        lines = recording.merge([recording.read(path) for path in files])
        return Told(run.run(_progress(lines, what))), run

    try:
        without, _ = told(built_in, "without the file")
        with_file, run = told(in_force, "with the file")
    except OSError as error:
        raise click.ClickException(str(error)) from error
    found = compare(without, with_file, tuple(built_in.by_id), tuple(in_force.by_id))
    if as_json:
        document = {
            "catalogue": in_force.digest,
            "catalogue_without": built_in.digest,
            "events": run.counts,
            "refused": dict(run.refused),
            "signals": [entry_of(one) for one in found],
        }
        click.echo(json.dumps(document, indent=2))
        return
    counts = run.counts
    click.echo(f"{counts['applied']} events applied, {counts['duplicate']} duplicate, {counts['dead']} refused")
    for one in found:
        if one.own or one.changed or one.off:
            click.echo()
            _show(one, len(one.accounts) if all_accounts else SHOWN_ACCOUNTS)
    same: list[SignalPreview] = [one for one in found if not (one.own or one.changed or one.off)]
    click.echo(f"\nunchanged: {_count(len(same), 'built-in signal')}, {_count(sum(o.raises for o in same), 'raise')}")


def _show(one: object, most: int) -> None:
    from services.signals.backtest.preview import SignalPreview

    assert isinstance(one, SignalPreview)
    without = "" if one.own else f" (without the file {one.raises_without})"
    if one.off:
        click.echo(f"{one.signal}: off; without the file {_count(one.raises_without, 'raise')}")
    else:
        click.echo(
            f"{one.signal}: {_count(len(one.accounts), 'account')}, {_count(one.raises, 'raise')}{without}, "
            f"{one.open_at_end} open at the end"
        )
    for raised in one.accounts[:most]:
        days = ", ".join(at.strftime("%Y-%m-%d") for at in raised.times)
        click.echo(f"  {raised.account:32} {raised.severity:9} {days}")
    if len(one.accounts) > most:
        click.echo(f"  … and {_count(len(one.accounts) - most, 'more account')}; --all lists them")
    for words, accounts in (("newly", one.more), ("no more", one.fewer)):
        if accounts:
            rest = f" … and {len(accounts) - most}" if len(accounts) > most else ""
            click.echo(f"  {words}: {', '.join(accounts[:most])}{rest}")


def _progress(lines: Iterator[recording.Line], what: str) -> Iterator[recording.Line]:
    """The lines, with a word on stderr now and then."""
    said = time.monotonic()
    for number, line in enumerate(lines):
        if not number % 1000 and time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            click.echo(f"{what}: {number:,} lines judged", err=True)
        yield line
