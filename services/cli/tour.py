"""What `ebbtide run` does once the stack is ready: keys, the demo, and where to look."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from services.common import keys, people
from services.common.addresses import base_urls
from services.common.db import create_engine
from services.common.settings import Settings
from services.demo.contract import CSMS

DEMO_SOURCE = "demo"
PERSON = "mia.torres"
"""Whose key the tour shows: a success manager of the demo's customers."""
LOOK_EVERY_S = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class LocalKeys:
    """The secrets that this data folder's owner tries things with: the api's, ingest's, and one to act as `PERSON`."""

    api_key: str
    write_key: str
    person_key: str


def local_keys(config: Settings) -> LocalKeys:
    """The keys kept in `keys.json` of the data folder, made and stored (readable by the owner only) when needed.

    They are made anew when the database, which may be another one now, does not know them.
    """
    return asyncio.run(_local_keys(config))


async def _local_keys(config: Settings) -> LocalKeys:
    path = config.data_dir.resolve() / "keys.json"
    engine = create_engine(config.database, process="cli", pool_size=1)
    try:
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            kept = LocalKeys(**json.loads(path.read_text()))
            secrets = (kept.api_key, kept.write_key, kept.person_key)
            if all([await keys.lookup(engine, secret) for secret in secrets]):
                return kept
        async with engine.begin() as connection:
            await _invite(connection)
        made = LocalKeys(
            (await keys.create(engine, ["read", "operate"], name="ebbtide run")).secret,
            (await keys.create(engine, ["ingest"], source=DEMO_SOURCE, name="ebbtide run")).secret,
            (await keys.create(engine, ["operate"], name="ebbtide run", user=PERSON)).secret,
        )
    finally:
        await engine.dispose()
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(made), file)
    part.replace(path)
    return made


async def _invite(connection: AsyncConnection) -> None:
    """Make the demo's success managers users, and the pools that share what is not one's own."""
    high, low = CSMS["high"], CSMS["low"]
    for name in (*high, *low):
        shown = name.replace(".", " ").title()
        await people.put_user(connection, name, scopes=["operate"], name=shown, by=people.CLI)
    await people.put_pool(connection, "enterprise", policy="load", members=high, by=people.CLI)
    # What the customers of the tech tier have as their manager.
    for pool in CSMS["tech"]:
        await people.put_pool(connection, pool, policy="round_robin", members=low, by=people.CLI)


def show_the_way(config: Settings, made: LocalKeys, say: Say, stop: threading.Event) -> None:
    """Tell where to look, and again when the first signals can be read. Returns then, or when `stop` is set."""
    since = time.monotonic()
    api, ingest = base_urls(config)["api"], base_urls(config)["ingest"]
    say(f"api    {api}   key {made.api_key}")
    say(f"ingest {ingest}   write key {made.write_key}")
    say(f"open   {api}/   and sign in as {PERSON} with the key {made.person_key}")
    say(f"try:   curl -s -H 'Authorization: Bearer {made.api_key}' '{api}/v1/accounts?limit=5'")
    while not stop.wait(LOOK_EVERY_S):
        count = _signals(f"{api}/v1/signals?limit=1", made.api_key)
        if count:
            say(f"first signals are there, {time.monotonic() - since:.0f} s after everything was ready:")
            say(f"       curl -s -H 'Authorization: Bearer {made.api_key}' '{api}/v1/signals?status=open&limit=5'")
            return


def _signals(url: str, key: str) -> int:
    """How many signals the first page at `url` holds; 0 also while the api has nothing to say."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return len(json.load(answer)["items"])
    except (OSError, ValueError, KeyError):
        return 0
