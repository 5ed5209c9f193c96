"""The whole local stack, real in every part: up detached, asked, ended, up again with everything kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from deploy.local.stack import SERVICES, Stack
from services.common.addresses import base_urls, variable
from services.common.settings import Settings
from tests.conftest import clean_environment
from tests.harness import ebbtide, free_ports, new_key, wait_for

PORTS = [field for field in Settings.model_fields if field.endswith("_port") or field.startswith("metrics_port_")]


@pytest.fixture
def own_stack(session_folder: Path) -> Iterator[dict[str, str]]:
    """Environment of a stack with nothing given: its own broker, database, folder and ports."""
    ports = dict(zip(map(variable, PORTS), map(str, free_ports(len(PORTS))), strict=True))
    env = clean_environment() | ports | {"EBBTIDE_DATA_DIR": str(session_folder / "whole")}
    yield env
    ebbtide("down", env=env, ok=False)


def test_up_and_down_twice_with_everything_kept_and_nothing_left(own_stack: dict[str, str]) -> None:
    config = Settings.model_validate({name.removeprefix("EBBTIDE_").lower(): own_stack[name] for name in own_stack})
    key = None
    for turn in range(2):
        said = ebbtide("up", "-d", env=own_stack, timeout=240).stdout
        assert "everything is ready" in said
        assert ("migrated to" in said) == (turn == 0)
        assert ("topics ready (all there)" in said) == (turn == 1)

        # A rebalance may make the engine open its partitions once more, right after it was ready.
        wait_for("all of it ready", lambda: Stack(config).status().healthy, every=0.5)
        status = Stack(config).status()
        assert {part.name for part in status.parts} == {"kafka", "postgres", *SERVICES}
        assert all(part.pid for part in status.parts)
        processes = [psutil.Process(pid) for pid in Stack(config).pids()]
        assert len(processes) > len(status.parts)  # the supervisor, and what each started itself

        if key is None:
            key = new_key(own_stack, "read")
            told = json.loads(ebbtide("doctor", "--json", env=own_stack).stdout)
            assert [finding for finding in told["findings"] if not finding["ok"]] == []
        accounts = httpx.get(f"{base_urls(config)['api']}/v1/accounts", headers={"Authorization": f"Bearer {key}"})
        assert accounts.status_code == 200

        ebbtide("down", env=own_stack)
        assert not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]

    troubled = ebbtide("doctor", "--json", env=own_stack, ok=False)
    assert troubled.returncode == 1
    wrong = {finding["check"] for finding in json.loads(troubled.stdout)["findings"] if not finding["ok"]}
    assert wrong == {"kafka", "topics", "database", *SERVICES}
