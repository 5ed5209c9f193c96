"""`ebbtide serve NAME`: one process of the product in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from services.cli.config import refuse_bad_settings
from services.common.problems import unavailable
from services.common.settings import settings

if TYPE_CHECKING:
    from services.api.endpoints.catalogue import InForce
    from services.common.dead_letter_replay import Prepared
    from services.common.dead_letters import Letter

# name -> "module:function"; imported on use, so that a process loads nothing of the others.
PROCESSES = {
    "ingest": "services.ingest.main:run",
    "engine": "services.signals.runtime.main:run",
    "recorder": "services.signals.recorder.main:run",
    "api": "services.api.main:run",
    "delivery": "services.delivery.main:run",
}


@click.command()
@click.argument("name", type=click.Choice(list(PROCESSES)))
def serve(name: str) -> None:
    """Run one process: ingest, engine, recorder, api or delivery."""
    # Loading a process takes seconds. Told to stop meanwhile, there is nothing to take down yet: it puts its own in place.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    refuse_bad_settings()
    module, function = PROCESSES[name].split(":")
    run = getattr(importlib.import_module(module), function)
    if name == "api":
        run(_in_force(), _again)
    else:
        run()


async def _again(chosen: Sequence[Letter]) -> Prepared:
    # Ingest's code is loaded by the first replay: few api processes ever need it.
    from services.cli.letters_again import MappingError, prepared

    try:
        return await prepared(settings(), chosen)
    except MappingError as error:
        raise unavailable(str(error)) from error


def _in_force() -> InForce | None:
    """The catalogue in force, None where it is the built-in one: the api knows that by itself."""
    file = settings().catalogue_file
    if file is None:
        return None
    from services.api.endpoints.catalogue import InForce
    from services.signals.catalogue import laws, load

    found = load(file)
    return InForce(laws.described(found.signals), found.digest, str(file))
