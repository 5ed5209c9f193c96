"""`ebbtide topics`: make and verify the project's topics on the broker."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable

import click
import msgspec
from aiokafka.errors import KafkaError

from services.common.addresses import base_urls
from services.common.db import UNREACHABLE
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


@topics.command("grow")
@click.option("--partitions", type=click.IntRange(2, 512), required=True, help="How many the input topics are to have.")
@click.option("--app-id", required=True, help="A new application id for the engine: its state begins again.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, or why it cannot be, and change nothing.")
def grow_command(partitions: int, app_id: str, dry_run: bool) -> None:
    """Make the input topics again with more partitions, with all that they hold.

    Everything that writes to them or reads them must be stopped. Broken off, call it again with the same options: it
    goes on where it was. docs/runbooks/adding-partitions.md has the whole procedure.
    """
    from services.cli.growth import Growth, GrowthRefused

    configuration = settings()
    for name, url in base_urls(configuration).items():
        if name != "api" and _answers(url):
            raise click.ClickException(f"{name} is running at {url}: stop every engine, ingest and recorder first")

    async def run() -> None:
        growth = Growth(configuration, partitions, app_id, lambda line: click.echo(line, err=True))
        plan = await growth.check()
        if plan is None:
            click.echo(f"the input topics have {partitions} partitions, and {app_id} its changelog: nothing to do")
        elif dry_run:
            click.echo(f"would grow the input topics from {plan.before} to {plan.after} partitions for {app_id}")
        else:
            await growth.run(plan)
            click.echo(
                f"grown from {plan.before} to {plan.after} partitions. Before anything is started, set everywhere:\n"
                f"EBBTIDE_TOPIC_PARTITIONS={plan.after}\nEBBTIDE_ENGINE_APP_ID={plan.app_id}"
            )

    try:
        asyncio.run(run())
    except (BrokerUnreachable, TopicsRefused, GrowthRefused, KafkaError, *UNREACHABLE) as problem:
        raise click.ClickException(str(problem) or repr(problem)) from problem


def _answers(url: str) -> bool:
    """Whether anybody listens there."""
    try:
        with urllib.request.urlopen(f"{url}/livez", timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


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
