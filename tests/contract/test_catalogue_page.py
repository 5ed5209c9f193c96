"""The catalogue's page where operators laid a file over it. A real server on a real database."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx

from services.signals.catalogue import load
from tests.conftest import PostgresServer
from tests.contract.test_queue_page import HEADER, add_ana
from tests.recorded import transition
from tests.served import Api, served


def test_it_names_the_file_and_since_when_signals_are_judged_by_it(
    postgres: PostgresServer, migrated_template: str, tmp_path: Path
) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text("signals:\n  usage.decline: {enabled: false}\n")
    digest = load(file).digest
    old, new = transition("acme", "e1", 1, "raised"), transition("acme", "e2", 1, "raised")
    assert new.value is not None
    new = new._replace(value=new.value.replace(b"c0ffee", digest.encode()), timestamp=1_790_000_000_000)
    settings = {
        "EBBTIDE_CATALOGUE_FILE": str(file),
        "EBBTIDE_CONSOLE_USER_HEADER": HEADER,
        "EBBTIDE_CONSOLE_TRUSTED_PROXIES": "127.0.0.1",
    }
    with served(postgres, migrated_template, tmp_path, [old, new], **settings) as api:
        page = catalogue(api)
    assert f"<code>{file}</code>" in page
    assert f"<code>{digest}</code>" in page
    # 1,790,000,000 seconds after 1970.
    assert "Signals are judged by it since 21 Sep 2026, 14:13" in page


def catalogue(api: Api) -> str:
    asyncio.run(add_ana(api))
    answer = httpx.get(f"{api.service.url}/catalogue", headers={"accept": "text/html", HEADER: "ana"}, timeout=20)
    assert answer.status_code == 200, answer.text
    return re.sub(r"<time[^>]*>|</time>", "", answer.text)
