"""The catalogue and the pipeline, looked at: words, accessibility, nothing wider than the window, acts without scripts."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from schemas.db.tables import RecorderOffset, SourceFeed
from schemas.envelope import EPOCH
from schemas.events import INPUT_TOPICS
from services.common import db, keys
from tests.browser.conftest import Site
from tests.browser.driver import NARROW, WIDE, Browser, browser
from tests.harness import start_service
from tests.letters import PARTITIONS, commit, produce, refused, used

LOOKS = [(scheme, size) for scheme in ("light", "dark") for size in (WIDE, NARROW)]


def looked_at(page: Browser, shots: Path, name: str, *, ready: str = "main h1") -> None:
    """The page as it is, in both schemes and sizes: pictures, and nothing that axe or the policy has to say of it."""
    where = page.path
    page.heard()  # what pages before this one said
    for scheme, size in LOOKS:
        page.scheme(scheme)
        page.size(size)
        page.open(where)
        page.find(ready)
        # Rows of the live view are inserted while one looks: that is what it is for.
        said = [line for line in page.heard() if "layout shift" not in line or ready != "#live [data-rows] li"]
        page.picture(shots / f"{name}-{scheme}-{size[0]}.png")
        assert page.overflow() <= 0, f"{name} {scheme} {size}"
        if scheme == "light" or size == WIDE:
            assert page.findings() == []
        # A picture of the whole page makes the window as high as the page: what moves then is nobody's fault.
        assert said + [line for line in page.heard() if "layout shift" not in line] == []
    page.size(WIDE)
    page.scheme("light")


def test_the_catalogue_says_what_fires_and_at_what_number(site: Site, signed_in: Browser, shots: Path) -> None:
    page = signed_in
    page.open("/catalogue")
    looked_at(page, shots, "catalogue")
    assert len(page.every("tbody tr")) >= 83
    page.open("/catalogue?q=USAGE.decline")
    assert "Usage is falling" in page.text("tbody tr th")
    page.find("tbody tr th a").click()
    page.until(lambda: page.path == "/catalogue/usage.decline")
    looked_at(page, shots, "catalogue-signal")
    assert "at most 75 % of those over the 28 days before" in page.text("main")
    page.open("/catalogue?q=no-such-words")
    assert "No signal matches" in page.text("main")
    page.open("/catalogue/no.such")
    assert "No signal 'no.such' in the catalogue" in page.text("main")


def test_a_pipeline_that_cannot_be_seen_is_not_called_fine(site: Site, signed_in: Browser, shots: Path) -> None:
    signed_in.open("/pipeline")
    assert "Nobody can tell" in signed_in.text(".belief")
    assert "Kafka could not be asked" in signed_in.text("main")
    signed_in.picture(shots / "pipeline-away-light-1280.png")


@pytest.fixture
def pipeline(
    clean_topics: LocalKafka, service_env: dict[str, str], tmp_path: Path
) -> Iterator[tuple[Browser, LocalKafka, str]]:
    """An api beside a broker with three groups of dead letters, and a browser of somebody who may replay."""
    now = dt.datetime.now(dt.UTC)
    letters = [("dead-letters", b"acme", used(n, count="many"), refused(n)) for n in range(3)]
    letters += [("dead-letters", b"birk", b"{", refused(7, reason="malformed", field="", key="birk"))]
    produce(clean_topics, *letters, *((topic, None, b"{}", {}) for topic in INPUT_TOPICS for _ in range(2)))

    async def fill() -> str:
        engine = db.create_engine(service_env["EBBTIDE_DATABASE_URL"], process="test", pool_size=1)
        last = int((now - dt.timedelta(hours=50) - EPOCH).total_seconds() * 1e6)
        state = {"last": last, "stale": True, "usual": 6 * 3600 * 10**6, "limit": 48 * 3600 * 10**6}
        async with engine.begin() as connection:
            await connection.execute(SourceFeed.__table__.insert().values(source="app-eu", topic="usage", state=state))
            await connection.execute(
                RecorderOffset.__table__.insert().values(topic="usage", partition=0, next_offset=0, updated_at=now)
            )
        made = await keys.create(engine, ["operate"], name="ops")
        await engine.dispose()
        return made.secret

    key = asyncio.run(fill())
    commit(clean_topics, {(topic, n): 1_000_000 for topic in INPUT_TOPICS for n in range(PARTITIONS)})
    service = start_service("api", service_env)
    try:
        with browser(service.url, tmp_path / "chromium") as page:
            page.sign_in(key, to="/pipeline")
            yield page, clean_topics, service.url
    finally:
        service.stop()


def test_the_pipeline_is_seen_and_dead_letters_go_back(pipeline: tuple[Browser, LocalKafka, str], shots: Path) -> None:
    page, kafka, _ = pipeline
    assert "The clock stands still" in page.text(".belief") or "app-eu" in page.text(".belief")
    assert "stale" in page.text('[aria-labelledby="sources"]')
    groups = [row.text for row in page.every('[aria-labelledby="dead"] tbody tr')]
    assert groups[0].startswith("invalid app-eu data.count usage 3 ")
    assert groups[1].startswith("malformed not known whole record usage 1 ")

    # What comes is shown, with what became of it, and stays still while somebody reads.
    page.until(lambda: "Connecting" not in page.text("#live [data-said]"))
    produce(kafka, *(("usage", b"acme", used(n), {}) for n in range(12)))
    page.until(lambda: len(page.every("#live li.applied")) >= 12)
    looked = page.find("#live summary")
    assert "usage.feature_used" in looked.text
    looked.click()
    page.until(lambda: page.text("[data-pause]") == "Resume")
    assert "jane" not in page.text("#live")
    looked_at(page, shots, "pipeline")

    # Preview, then replay: plain forms, one group, and it says what became of it.
    page.find('[aria-labelledby="dead"] tbody tr a').click()
    page.until(lambda: page.path.startswith("/pipeline/dead-letters"))
    assert "3 would be sent" in page.text('[aria-labelledby="replay"]')
    looked_at(page, shots, "dead-letters")
    page.find("[aria-labelledby='replay'] form button").click()
    page.until(lambda: "sent=" in page.path)
    assert "3 sent again: 3 fixed, 0 failed again." in page.text(".result")
    assert "all 3 were sent before" in page.text('[aria-labelledby="replay"]')
    assert page.heard() == []
