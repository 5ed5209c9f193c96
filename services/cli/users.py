"""`ebbtide users` and `ebbtide pools`: who may act on signals, and who shares work."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common import people
from services.common.db import UNREACHABLE, create_engine
from services.common.settings import settings

_encode = msgspec.json.Encoder().encode


@click.group()
def users() -> None:
    """People who act on signals. A user's id is the name that profiles use for them (csm)."""


@users.command()
@click.argument("user_id")
@click.option(
    "--scope", "scopes", default="read,operate", show_default=True, help="Comma-separated: read, operate, admin."
)
@click.option("--name", help="As it is shown; the id otherwise.")
@click.option("--email", help="Where they are written to.")
@click.option("--json", "as_json", is_flag=True, help="Print the user as one JSON object.")
def add(user_id: str, scopes: str, name: str | None, email: str | None, as_json: bool) -> None:
    """Add a user; one who is there already becomes as said here, and enabled."""
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    made = _with_database(
        "users add",
        lambda connection: people.put_user(connection, user_id, scopes=wanted, name=name, email=email, by=people.CLI),
    )
    if as_json:
        click.echo(_encode(made))
    else:
        click.echo(f"{user_id}: {', '.join(made.scopes)}; a key: ebbtide keys create --user {user_id} --scope operate")


@users.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_users(as_json: bool) -> None:
    """List the users, by id."""
    found = _with_database("users list", people.users)
    if as_json:
        click.echo(_encode(found))
        return
    for person in found:
        state = f"disabled {person.disabled_at:%Y-%m-%d}" if person.disabled_at else "enabled"
        click.echo(f"{person.user_id}  {person.name or '-'}  {person.email or '-'}  {','.join(person.scopes)}  {state}")


@users.command()
@click.argument("user_id")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def disable(user_id: str, as_json: bool) -> None:
    """Take a user out of force, with their keys (within seconds). What is assigned to them stays so."""
    if not _with_database("users disable", lambda c: people.disable_user(c, user_id, by=people.CLI)):
        click.echo(f"ebbtide users disable: no user {user_id!r}; `ebbtide users list` shows them", err=True)
        sys.exit(1)
    click.echo(json.dumps({"user_id": user_id, "disabled": True}) if as_json else f"disabled {user_id}")


@click.group()
def pools() -> None:
    """People who share work: a signal that is assigned to a pool goes to one of them."""


@pools.command("set")
@click.argument("pool_id")
@click.option("--member", "members", multiple=True, required=True, help="User id; once for each, in turn.")
@click.option(
    "--policy",
    type=click.Choice(people.POLICIES),
    default="round_robin",
    show_default=True,
    help="Who gets the next one: each in turn, or who has the fewest open ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the pool as one JSON object.")
def set_pool(pool_id: str, members: tuple[str, ...], policy: str, as_json: bool) -> None:
    """Make a pool, or make one as said here."""
    made = _with_database(
        "pools set",
        lambda connection: people.put_pool(connection, pool_id, policy=policy, members=members, by=people.CLI),
    )
    click.echo(_encode(made) if as_json else f"{pool_id}: {made.policy} among {', '.join(made.members)}")


@pools.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_pools(as_json: bool) -> None:
    """List the pools, by id."""
    found = _with_database("pools list", people.pools)
    if as_json:
        click.echo(_encode(found))
        return
    for pool in found:
        click.echo(f"{pool.pool_id}  {pool.policy}  {', '.join(pool.members)}  {pool.given} given out")


@pools.command()
@click.argument("pool_id")
def remove(pool_id: str) -> None:
    """Remove a pool. What it gave out stays with whom it was given to."""
    if not _with_database("pools remove", lambda c: people.remove_pool(c, pool_id, by=people.CLI)):
        click.echo(f"ebbtide pools remove: no pool {pool_id!r}; `ebbtide pools list` shows them", err=True)
        sys.exit(1)
    click.echo(f"removed {pool_id}")


def _with_database(command: str, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
    """Do something in one transaction. Ends with exit code 2 for what cannot be as asked, 1 without a database."""

    async def run() -> Any:
        engine = create_engine(settings().database, process="cli", pool_size=1)
        try:
            async with engine.begin() as connection:
                return await work(connection)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except people.PersonRefused as error:
        click.echo(f"ebbtide {command}: {error}", err=True)
        sys.exit(2)
    except UNREACHABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        click.echo(
            f"the database does not answer: {reason}; start it (`ebbtide up`), then `ebbtide db upgrade`", err=True
        )
        sys.exit(1)
