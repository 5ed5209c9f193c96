"""`ebbtide keys`: keys of the api and of ingest."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import click
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import keys as store
from services.common.db import UNREACHABLE, create_engine
from services.common.settings import settings


@click.group()
def keys() -> None:
    """Keys of the api and of ingest. A secret is shown once, when it is made."""


@keys.command()
@click.option("--scope", "scopes", required=True, help=f"Comma-separated: {', '.join(store.SCOPES)}.")
@click.option("--source", help="What the events of an ingest key are said to come from.")
@click.option("--user", help="Whose key it is: a user id. It never has more than its user.")
@click.option("--name", help="A note for whoever reads the list.")
@click.option("--json", "as_json", is_flag=True, help="Print the key as one JSON object.")
def create(scopes: str, source: str | None, user: str | None, name: str | None, as_json: bool) -> None:
    """Make a key and print its secret, this once."""
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    try:
        made = _with_database(lambda engine: store.create(engine, wanted, source=source, name=name, user=user))
    except store.KeyRefused as error:
        click.echo(f"ebbtide keys create: {error}", err=True)
        sys.exit(2)
    if as_json:
        told = {
            "id": made.key.id,
            "key": made.secret,
            "scopes": sorted(made.key.scopes),
            "source": source,
            "user": user,
        }
        click.echo(json.dumps(told))
    else:
        click.echo(made.secret)
        click.echo(f"id {made.key.id}, scopes {', '.join(sorted(made.key.scopes))}; it is not shown again", err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(as_json: bool) -> None:
    """List the keys, newest first, without their secrets."""
    rows = _with_database(store.listing)
    if as_json:
        click.echo(json.dumps(rows, default=_instant))
        return
    for row in rows:
        state = f"revoked {_instant(row['revoked_at'])}" if row["revoked_at"] else "in force"
        of = "".join(f" {name}={row[name]}" for name in ("source", "user") if row[name])
        click.echo(f"{row['id']}  …{row['last_four']}  {','.join(row['scopes'])}{of}  {row['name'] or '-'}  {state}")


@keys.command()
@click.argument("key_id")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def revoke(key_id: str, as_json: bool) -> None:
    """Take the key with this id out of force (processes that hold it in their cache follow within seconds)."""
    if not _with_database(lambda engine: store.revoke(engine, key_id)):
        click.echo(f"ebbtide keys revoke: no key has the id {key_id!r}; `ebbtide keys list` shows them", err=True)
        sys.exit(1)
    click.echo(json.dumps({"id": key_id, "revoked": True}) if as_json else f"revoked {key_id}")


def _instant(value: object) -> str:
    assert isinstance(value, dt.datetime)
    return value.isoformat().replace("+00:00", "Z")


def _with_database(work: Callable[[AsyncEngine], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        engine = create_engine(settings().database, process="cli", pool_size=1)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except UNREACHABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        click.echo(
            f"the database does not answer: {reason}; start it (`ebbtide up`), then `ebbtide db upgrade`", err=True
        )
        sys.exit(1)
