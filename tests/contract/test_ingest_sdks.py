"""Unmodified SDKs against ingest: what each sends arrives, and a call that is sent twice keeps its id.

Every SDK goes through a proxy that loses the answer to its first request: the SDK retries what Kafka already has.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import clean_environment
from tests.harness import ROOT, wait_for
from tests.ingest_stage import LosesAnswers, Stage, headers_of, stage

HERE = Path(__file__).parent
SDK_DIR = ROOT / ".tools" / "sdk"
OLD_PYTHON_SDKS = ("2.3.5", "2.2.3")
SDKS = (
    ("segment-python-2.4.0", "2.4.0"),
    *((f"segment-python-{version}", version) for version in OLD_PYTHON_SDKS),
    ("rudder-python", "2.1.9"),
    ("segment-node", "3.1.0"),
    ("rudder-node", "3.0.13"),
)


@pytest.fixture(scope="module")
def ingest(kafka: Any, postgres: Any, migrated_template: str, tmp_path_factory: Any) -> Iterator[Stage]:
    with stage(kafka, postgres, migrated_template, tmp_path_factory.mktemp("ingest")) as running:
        yield running


@pytest.fixture(scope="module")
def old_python_sdks() -> dict[str, Path]:
    """Folders with older versions of Segment's SDK for Python, fetched once."""
    folders = {version: SDK_DIR / f"segment-python-{version}" for version in OLD_PYTHON_SDKS}
    for version, folder in folders.items():
        if (folder / "complete").exists():
            continue
        package = f"segment-analytics-python=={version}"
        uv = ROOT / ".tools" / "uv" / "bin" / "uv"
        program = str(uv) if uv.exists() else shutil.which("uv")
        assert program, "uv is needed to fetch older SDKs: run `make sdk` or put uv on PATH"
        subprocess.run(
            [program, "pip", "install", "-q", "--python", sys.executable, "--target", folder, package], check=True
        )
        (folder / "complete").touch()
    return folders


@pytest.fixture(scope="module")
def node_modules() -> None:
    """The Node SDKs, installed from the lock file once."""
    folder = HERE / "sdk_node"
    if (folder / "node_modules" / ".package-lock.json").exists():
        return
    assert shutil.which("npm"), "node 20 with npm is needed for the Node SDKs"
    subprocess.run(
        ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        check=True,
        capture_output=True,
    )


@dataclass
class Seen:
    """What one SDK's journey led to."""

    version: str
    exit_code: int
    errors: str
    answers_lost: int
    records: list[dict[str, Any]]
    letters: list[dict[str, Any]]


def redeemed(ingest: Stage, sdk: str) -> bool:
    """Whether an identify of that SDK has become an event."""
    events = (json.loads(record.value) for record in ingest.read("accounts"))
    return any(event["source"] == sdk and event["type"] == "account.contact_changed" for event in events)


@pytest.fixture(scope="module")
def journeys(ingest: Stage, old_python_sdks: dict[str, Path], node_modules: None) -> dict[str, Seen]:
    """The journey of every SDK, all at the same time, each to an account of its own."""
    running = {}
    with ExitStack() as stack:
        for sdk, version in SDKS:
            flavour, language = sdk.split("-")[:2]
            driver = HERE / "sdk_python" / "drive.py" if language == "python" else HERE / "sdk_node" / "drive.mjs"
            program = sys.executable if language == "python" else "node"
            env = clean_environment()
            if version in old_python_sdks:
                env["PYTHONPATH"] = os.fspath(old_python_sdks[version])
            proxy = stack.enter_context(LosesAnswers(int(ingest.env["EBBTIDE_INGEST_PORT"]), lost=1))
            command = [program, driver, flavour, proxy.url, ingest.key(sdk), f"account of {sdk}"]
            pipe = subprocess.PIPE
            running[sdk] = (proxy, subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True))
        output = {sdk: process.communicate(timeout=90) for sdk, (_, process) in running.items()}
    wait_for("the call that came before its link is sent again", lambda: redeemed(ingest, "rudder-node"))
    records = [json.loads(record.value) for topic in ("accounts", "usage") for record in ingest.read(topic)]
    letters = [
        (headers_of(record)["ingest_source"], json.loads(record.value)) for record in ingest.read("dead-letters")
    ]
    return {
        sdk: Seen(
            version=output[sdk][0].strip(),
            exit_code=running[sdk][1].returncode,
            errors=output[sdk][1],
            answers_lost=running[sdk][0].answers_lost,
            records=[record for record in records if record["source"] == sdk],
            letters=[letter for source, letter in letters if source == sdk],
        )
        for sdk, _ in SDKS
    }


@pytest.mark.parametrize(("sdk", "version"), SDKS, ids=[sdk for sdk, _ in SDKS])
def test_what_an_sdk_sends_arrives_once_by_id(journeys: dict[str, Seen], sdk: str, version: str) -> None:
    seen, account = journeys[sdk], f"account of {sdk}"
    assert seen.exit_code == 0, seen.errors
    assert (seen.version, seen.answers_lost) == (version, 1)
    assert {record["subject"] for record in seen.records} == {account}

    first = {record["id"]: record for record in seen.records}
    user, stranger = f"user-of-{account}", f"stranger-of-{account}"
    # RudderStack's Node SDK sends its first call alone: an identify of somebody who belongs to no account yet. It is a
    # letter, and is sent again by itself when the link comes.
    alone = sdk == "rudder-node"
    wanted = [
        ("account.contact_changed", None, sdk),
        ("account.updated", None, sdk),
        ("usage.feature_used", stranger, sdk),
        ("usage.feature_used", user, sdk),
        ("usage.logged_in", user, sdk),
        ("usage.page_viewed", user, sdk),
    ]
    assert {(letter["type"], letter["userId"]) for letter in seen.letters} == {
        ("track", f"nobody-of-{account}"),
        *([("identify", user)] if alone else []),
    }
    found = [(record["type"], record["data"].get("user"), record["source"]) for record in first.values()]
    assert sorted(found, key=str) == sorted(wanted, key=str)
    (updated,) = [record for record in first.values() if record["type"] == "account.updated"]
    assert updated["data"] == {"name": f"Acme {account}", "seats": 12, "plan": "pro", "mrr": "1200.5"}
    (page,) = [record for record in first.values() if record["type"] == "usage.page_viewed"]
    assert page["data"]["page"] == "Getting started"
    exported = {record["data"]["user"]: record for record in first.values() if record["type"] == "usage.feature_used"}
    assert exported[user]["time"] < exported[stranger]["time"], "the time that the caller gave"

    # The first request's answer was lost, its calls came twice: under the same ids, which the engine counts once.
    # A letter that was sent again once it was attributable is a record as well.
    times = Counter(record["id"] for record in seen.records) | Counter(letter["messageId"] for letter in seen.letters)
    assert set(times.values()) <= {1, 2}
    assert 2 in times.values()
