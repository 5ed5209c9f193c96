"""`ebbtide`: one console script. Each command lives in a module of its own and is imported only when it is called."""

from __future__ import annotations

import importlib

import click

# command -> ("module:attribute", one line of help). A module is imported on use, so that `ebbtide backtest` needs no
# Kafka client, and `ebbtide --help` needs none of them.
COMMANDS = {
    "up": ("services.cli.stack:up", "Start everything on this machine."),
    "down": ("services.cli.stack:down", "End everything that was started."),
    "status": ("services.cli.stack:status", "What runs, where, and whether it is ready."),
    "run": ("services.cli.stack:run", "Start everything, with the demo, until Ctrl-C."),
    "doctor": ("services.cli.config:doctor", "Check this machine, the broker, the database and the services."),
    "check-config": ("services.cli.config:check_config", "Check every setting, and tell all mistakes at once."),
    "demo": ("services.cli.demo:demo", "Replay a year of invented customers, then send live events."),
    "simulate": ("services.cli.simulate:simulate", "Invent customers and write their events to a file."),
    "backtest": ("services.cli.backtest:backtest", "Print the signals that recorded events give."),
    "replay": ("services.cli.replay:replay", "Send recorded events through the topics."),
    "topics": ("services.cli.topics:topics", "Make and verify the topics."),
    "db": ("services.cli.db:db", "Make and migrate the database."),
    "keys": ("services.cli.keys:keys", "Create, list and revoke keys."),
    "users": ("services.cli.users:users", "Add, list and disable people who act on signals."),
    "pools": ("services.cli.users:pools", "Set and list pools of people who share work."),
    "catalogue": ("services.cli.catalogue:catalogue", "The signals in force."),
    "dead-letters": ("services.cli.dead_letters:dead_letters", "List and replay refused records."),
    "serve": ("services.cli.serve:serve", "Run one process of the service."),
}


class LazyGroup(click.Group):
    """A click group that knows its commands' names and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ebbtide")
def main() -> None:
    """Ebbtide: churn signals from product usage, support tickets and invoices."""


if __name__ == "__main__":
    main()
