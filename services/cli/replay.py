"""`ebbtide replay`: recorded events through the real topics, judged at their own time."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from aiokafka.errors import KafkaError

from services.common.kafka import BrokerUnreachable
from services.common.lifecycle import stop_event
from services.common.recording import DAY_US
from services.common.settings import settings
from services.demo.events import us
from services.demo.replay import Outcome, ReplayRefused, finish
from services.demo.replay import replay as send


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="End with the midnight that ends this day (UTC).")
@click.option("--finish", "only_finish", is_flag=True, help="Close a replay whose driver was killed; takes no files.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def replay(files: tuple[Path, ...], until: dt.datetime | None, only_finish: bool, as_json: bool) -> None:
    """Send recorded events (NDJSON, gzip or plain; several are merged by time) through the input topics.

    The engine judges them at their own time, as `ebbtide backtest` does. Topics whose clock is past the recording's
    begin are refused before anything is sent. However it ends, also by Ctrl-C, the topics are given back to the present.
    """
    if only_finish:
        if files or until:
            raise click.UsageError("--finish closes an open replay; it takes neither files nor --until")
        closed = _run(finish(settings(), _say))
        if as_json:
            click.echo(json.dumps({"closed": closed}))
        return
    if not files:
        raise click.UsageError("name at least one file of events, or --finish")
    until_us = None if until is None else us(until.replace(tzinfo=dt.UTC)) + DAY_US

    async def run() -> Outcome:
        return await send(files, settings(), _say, stop_event(), until_us=until_us)

    outcome = _run(run())
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
    else:
        _say(f"{outcome.sent:,} lines sent in {outcome.seconds:,.1f} s; the topics' clock is at {outcome.clock}")
    if not outcome.complete:
        raise click.ClickException("stopped before the end; the topics were given back to the present")


def _run[T](work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (ReplayRefused, BrokerUnreachable, KafkaError, OSError) as problem:
        raise click.ClickException(str(problem) or repr(problem)) from problem
