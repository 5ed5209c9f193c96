"""`ebbtide demo`: the demo's history and live events into a stack that runs already."""

from __future__ import annotations

import signal
import threading
import time

import click
from aiokafka.errors import KafkaError

from services.cli.tour import local_keys
from services.common.kafka import BrokerUnreachable
from services.common.settings import settings
from services.demo import demo as history


@click.command()
@click.option("--accounts", type=click.IntRange(1, 10_000), default=history.ACCOUNTS, show_default=True)
@click.option("--reset-progress", is_flag=True, help="Begin the history anew: for topics that were made anew.")
def demo(accounts: int, reset_progress: bool) -> None:
    """Replay a year of invented history through the running stack, once, then send live events until Ctrl-C.

    The engine must have been started with EBBTIDE_TICKS=after-replay, as `ebbtide run` does: with a clock that is
    already in the present, all of the history would be late, and it is refused.
    """
    since = time.monotonic()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if reset_progress:
        history.reset(settings())
    try:
        local_keys(settings())
        history.run(
            settings(), lambda text: click.echo(f"{time.monotonic() - since:7.1f} s  {text}"), stop, accounts=accounts
        )
    except (history.DemoError, BrokerUnreachable, KafkaError, OSError) as problem:
        raise click.ClickException(str(problem) or repr(problem)) from problem
