"""`ebbtide serve NAME`: one process of the product in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import importlib

import click

from services.cli.config import refuse_bad_settings

# name -> "module:function"; imported on use, so that a process loads nothing of the others.
PROCESSES = {
    "ingest": "services.ingest.main:run",
    "engine": "services.signals.runtime.main:run",
    "recorder": "services.signals.recorder.main:run",
    "api": "services.api.main:run",
}


@click.command()
@click.argument("name", type=click.Choice(list(PROCESSES)))
def serve(name: str) -> None:
    """Run one process: ingest, engine, recorder or api."""
    refuse_bad_settings()
    module, function = PROCESSES[name].split(":")
    getattr(importlib.import_module(module), function)()
