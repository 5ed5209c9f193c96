"""The local stack with stand-ins in place of the services: `python -m tests.integration.stand_in_stack NAME=MANNER…`."""

from __future__ import annotations

import sys

from deploy.local.stack import Stack, StackError, Stopped
from services.common.addresses import base_urls
from services.common.settings import Settings


def main() -> None:
    config = Settings()  # type: ignore[call-arg]
    manners = dict(argument.split("=") for argument in sys.argv[1:])

    def command(name: str) -> list[str]:
        port = base_urls(config)[name].rpartition(":")[2]
        return [sys.executable, "-m", "tests.integration.stand_in", port, manners.get(name, "polite")]

    stack = Stack(config, lambda line: print(line, flush=True), command)
    try:
        with stack.up():
            print("everything is ready", flush=True)
            stack.tend()
    except Stopped:
        print("stopped while starting", flush=True)
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
