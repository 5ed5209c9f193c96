"""`ebbtide dead-letters`: what was refused, and sending it again once the cause is mended."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from typing import Any

import click
import structlog
from aiokafka.errors import KafkaError
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.dead_letters import REASONS
from services.cli.letters_again import prepared
from services.common import dead_letters as letters
from services.common.db import UNREACHABLE, create_engine
from services.common.dead_letter_replay import Done, send_again
from services.common.dead_letters import Identity, Letter
from services.common.kafka import BrokerUnreachable, UnknownTopic
from services.common.settings import Settings, settings
from services.ingest.mapping import MappingError

LIST_LIMIT = 50


class Place(click.ParamType):
    """`topic/partition/offset`."""

    name = "topic/partition/offset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Identity:
        """The identity."""
        try:
            return Identity.parse(value)
        except ValueError:
            self.fail(f"{value!r}: write it as topic/partition/offset, as `dead-letters list` shows it", param, ctx)


@click.group("dead-letters")
def dead_letters() -> None:
    """Records that were refused, kept with their bytes and the reason."""
    # Standard output is the answer; what ingest's reader of links logs goes beside it.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


@dead_letters.command("list")
@click.option("--reason", type=click.Choice(REASONS), help="Only these.")
@click.option("--limit", type=click.IntRange(1), default=LIST_LIMIT, show_default=True, help="The newest this many.")
@click.option("--values", is_flag=True, help="Show the refused bytes too (they may be personal).")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(reason: str | None, limit: int, values: bool, as_json: bool) -> None:
    """List dead letters, newest first."""
    held, sent = _run(_read_all(settings()))
    wanted = [letter for letter in held if reason in (None, letter.reason)]
    shown = [_described(letter, sent, values) for letter in reversed(wanted[-limit:])]
    if as_json:
        click.echo(json.dumps(shown))
        return
    for entry in shown:
        again = {None: "", 0: "  replay begun, not confirmed"}.get(
            entry["replayed"], f"  replayed {entry['replayed']}×"
        )
        where = f" {entry['field']}:" if entry["field"] else ""
        click.echo(f"{entry['id']}  {entry['failed_at']}  {entry['reason']}{where} {entry['detail']}{again}")
        if values:
            click.echo(f"  {entry['value']}")
    by_reason = ", ".join(
        f"{count} {name}" for name, count in Counter(letter.reason for letter in wanted).most_common()
    )
    click.echo(f"{len(shown)} of {len(wanted)} shown{': ' + by_reason if by_reason else ''}", err=True)


@dead_letters.command()
@click.option("--id", "identity", type=Place(), help="One, by its id.")
@click.option("--reason", type=click.Choice(REASONS), help="All with this reason.")
@click.option("--all", "everything", is_flag=True, help="All that there are.")
@click.option("--again", is_flag=True, help="Also those that were sent again before.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
def replay(
    identity: Identity | None, reason: str | None, everything: bool, again: bool, yes: bool, as_json: bool
) -> None:
    """Send refused records to their source topic again, bytes and key untouched; calls to ingest are translated anew.

    Each goes once, unless --again says otherwise. What is refused again is a new dead letter.
    """
    if sum((identity is not None, reason is not None, everything)) != 1:
        raise click.UsageError("say which: one of --id, --reason, --all")
    config = settings()
    held, sent = _run(_read_all(config))
    wanted = [
        letter for letter in held if everything or letter.identity == identity or (reason and letter.reason == reason)
    ]
    if identity is not None and not wanted:
        click.echo(f"no dead letter {identity}; `ebbtide dead-letters list` shows them", err=True)
        sys.exit(1)
    chosen = [letter for letter in wanted if again or letter.identity not in sent]
    unsure = sum(1 for letter in wanted if sent.get(letter.identity) == 0)
    skipped = len(wanted) - len(chosen)
    if skipped:
        told = f", {unsure} of them begun and never confirmed" if unsure else ""
        click.echo(f"{skipped} left out: sent again before{told} (--again sends them too)", err=True)
    if chosen and not yes:
        click.confirm(f"Send {len(chosen)} again?", abort=True, err=True)
    done = _run(_replay(config, chosen, again)) if chosen else Done({}, 0, 0, Counter())
    skipped += done.taken
    if as_json:
        counts = {"sent": len(done.sent), "left_out": skipped, "refused": done.refused, "why": dict(done.why)}
        click.echo(json.dumps(counts))
    else:
        click.echo(f"{len(done.sent)} sent again, {skipped} left out, {done.refused} still refused")
        for why, count in done.why.most_common():
            click.echo(f"  {count}× {why}")


async def _read_all(config: Settings) -> tuple[list[Letter], dict[Identity, int]]:
    engine = _engine(config)
    try:
        return await letters.read(config.bootstrap), await letters.replays(engine)
    finally:
        await engine.dispose()


async def _replay(config: Settings, chosen: list[Letter], again: bool) -> Done:
    engine = _engine(config)
    try:
        return await send_again(config, engine, chosen, partial(prepared, config), again=again)
    finally:
        await engine.dispose()


def _described(letter: Letter, sent: dict[Identity, int], values: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": str(letter.identity),
        "reason": letter.reason,
        "field": letter.field,
        "detail": letter.headers.get("detail", ""),
        "failed_at": letter.headers.get("failed_at", ""),
        "key": None if letter.key is None else letter.key.decode("utf-8", "replace"),
        "bytes": len(letter.value),
        "seen": letter.seen,
        "replayed": sent.get(letter.identity),
    }
    if values:
        found["value"] = letter.value.decode("utf-8", "replace")
    return found


def _engine(config: Settings) -> AsyncEngine:
    return create_engine(config.database, process="cli", pool_size=1)


def _run[T](work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (BrokerUnreachable, UnknownTopic, MappingError) as error:
        problem = str(error)
    except UNREACHABLE as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        problem = f"the database cannot be used: {first}; start it (`ebbtide up`), `ebbtide db upgrade`"
    except KafkaError as error:
        problem = f"Kafka refused: {error}; what was sent is not confirmed: `dead-letters list` shows it"
    click.echo(problem, err=True)
    sys.exit(1)
