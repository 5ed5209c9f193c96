"""`ebbtide topics`: make and verify the project's topics on the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import click
import msgspec

from services.common.kafka import BrokerUnreachable
from services.common.settings import settings
from services.common.topics import Report, TopicsRefused, apply, check

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")


@click.group()
def topics() -> None:
    """Make and verify the topics, as the files in schemas/topics say."""


@topics.command("apply")
@click.option("--dry-run", is_flag=True, help="Say what would change and change nothing.")
@as_json_option
def apply_command(dry_run: bool, as_json: bool) -> None:
    """Make missing topics and correct settings; nothing is ever made smaller.

    Exit code 1 when something stays different from what is configured: it is named, with what to do.
    """
    report = _configured(check if dry_run else apply)
    _show(report, as_json, change="would change" if dry_run else "changed")
    if report.refused or report.differences:
        raise SystemExit(1)


@topics.command("check")
@as_json_option
def check_command(as_json: bool) -> None:
    """Verify the topics and name every difference. Exit code 1 when there is one."""
    report = _configured(check)
    _show(report, as_json, change="differs")
    if not report.unchanged:
        raise SystemExit(1)


def _configured(work: Callable[..., Awaitable[Report]]) -> Report:
    configuration = settings()

    async def run() -> Report:
        return await work(
            configuration.bootstrap,
            partitions=configuration.topic_partitions,
            replication=configuration.topic_replication,
            app_id=configuration.engine_app_id,
        )

    try:
        return asyncio.run(run())
    except (BrokerUnreachable, TopicsRefused) as problem:
        raise click.ClickException(str(problem)) from problem


def _show(report: Report, as_json: bool, *, change: str) -> None:
    if as_json:
        click.echo(msgspec.json.encode(report))
        return
    for made in report.changes:
        click.echo(f"{change}: {made}")
    for difference in report.differences:
        click.echo(f"differs: {difference}", err=True)
    if report.refused:
        click.echo(f"refused: {report.refused}", err=True)
    if report.unchanged:
        click.echo("every topic is as configured")
