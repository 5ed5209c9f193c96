"""`ebbtide db`: the database's schema."""

from __future__ import annotations

import asyncio
import json
import sys

import click

from services.common.db import DatabaseError, upgrade
from services.common.settings import settings


@click.group()
def db() -> None:
    """The database's schema."""


@db.command("upgrade")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("--wait", "wait_s", default=30.0, show_default=True, help="Seconds to wait for a starting server.")
def upgrade_command(as_json: bool, wait_s: float) -> None:
    """Create the database if it is missing and bring it to the newest migration. Safe to run again."""
    try:
        before, after = asyncio.run(
            upgrade(settings().database, wait_s=wait_s, told=lambda line: click.echo(line, err=True))
        )
    except DatabaseError as error:
        click.echo(f"ebbtide db upgrade: {error}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps({"before": before, "after": after, "changed": before != after}))
    elif before == after:
        click.echo(f"database: already at {after}")
    else:
        click.echo(f"database: {before or 'empty'} → {after}")
