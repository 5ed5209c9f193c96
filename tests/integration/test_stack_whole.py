"""The whole local stack, real in every part: up detached, asked, ended, up again with everything kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from services.common.addresses import variable
from services.common.settings import Settings
from tests.conftest import clean_environment
from tests.harness import ebbtide, free_ports, http_status

PORTS = [field for field in Settings.model_fields if field.endswith("_port") or field.startswith("metrics_port_")]


@pytest.fixture
def own_stack(session_folder: Path) -> Iterator[dict[str, str]]:
    """Environment of a stack with nothing given: its own broker, database, folder and ports."""
    ports = dict(zip(map(variable, PORTS), map(str, free_ports(len(PORTS))), strict=True))
    env = clean_environment() | ports | {"EBBTIDE_DATA_DIR": str(session_folder / "whole")}
    yield env
    ebbtide("down", env=env, ok=False)


def test_up_status_down_twice_with_everything_kept_and_nothing_left(own_stack: dict[str, str]) -> None:
    kept: list[str] = []
    for turn in range(2):
        said = ebbtide("up", "-d", env=own_stack, timeout=240).stdout
        assert "everything is ready" in said
        assert ("migrated to" in said) == (turn == 0)
        assert "topics ready (all there)" in said or turn == 0

        told = json.loads(ebbtide("status", "--json", env=own_stack).stdout)
        pids = {part["name"]: part["pid"] for part in told["parts"]}
        assert pids.keys() == {"kafka", "postgres", "engine", "recorder", "api", "ingest"}
        assert all(pids.values())
        processes = [psutil.Process(pid) for pid in pids.values()]
        processes += [below for process in processes for below in process.children(recursive=True)]

        keys = {key["id"] for key in json.loads(ebbtide("keys", "list", "--json", env=own_stack).stdout)}
        assert keys == set(kept)
        if turn == 0:
            key = json.loads(ebbtide("keys", "create", "--scope", "read", "--json", env=own_stack).stdout)
            kept.append(key["id"])
        findings = json.loads(ebbtide("doctor", "--json", env=own_stack).stdout)
        assert findings["ok"] is True
        assert http_status(f"http://127.0.0.1:{own_stack['EBBTIDE_API_PORT']}/livez") == 200

        ebbtide("down", env=own_stack)
        assert not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    troubled = ebbtide("doctor", "--json", env=own_stack, ok=False)
    assert troubled.returncode == 1
    wrong = {finding["check"] for finding in json.loads(troubled.stdout)["findings"] if not finding["ok"]}
    assert wrong == {"kafka", "topics", "database", "engine", "recorder", "api", "ingest"}
