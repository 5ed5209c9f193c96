"""`ebbtide`: one console script. Each command lives in a module of its own and is imported only when it is called."""

from __future__ import annotations

import importlib

import click

# command -> "module:attribute". A module is imported on use, so that `ebbtide backtest` needs no Kafka client.
COMMANDS = {
    "up": "services.cli.stack:up",
    "down": "services.cli.stack:down",
    "status": "services.cli.stack:status",
    "run": "services.cli.stack:run",
    "doctor": "services.cli.config:doctor",
    "check-config": "services.cli.config:check_config",
    "demo": "services.cli.demo:demo",
    "simulate": "services.cli.simulate:simulate",
    "backtest": "services.cli.backtest:backtest",
    "replay": "services.cli.replay:replay",
    "topics": "services.cli.topics:topics",
    "db": "services.cli.db:db",
    "keys": "services.cli.keys:keys",
    "catalogue": "services.cli.catalogue:catalogue",
    "dead-letters": "services.cli.dead_letters:dead_letters",
    "serve": "services.cli.serve:serve",
}


class LazyGroup(click.Group):
    """A click group that knows its commands' names and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, attribute = target.split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ebbtide")
def main() -> None:
    """Ebbtide: churn signals from product usage, support tickets and invoices."""


if __name__ == "__main__":
    main()
