"""pipeline.source_stale: a source of events sends nothing any more, to anybody."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.envelope import from_us
from services.signals.catalogue.definition import (
    Action,
    Case,
    Context,
    Evidence,
    Fact,
    Finding,
    Signal,
    evidence,
    times,
)
from services.signals.core.days import HOUR_US


def _stale(c: Context) -> list[tuple[str, int]]:
    """Topic and since when (µs), of each topic on which the subject is stale."""
    found = [(c.world.feeds[hole.feed].partition("/"), hole.since) for hole in c.world.open_holes()]
    return [(topic, since) for (topic, _, source), since in found if source == c.subject]


def _sources(c: Context) -> Iterable[str]:
    return {c.world.feeds[hole.feed].partition("/")[2] for hole in c.world.open_holes()}


def _seen(c: Context) -> dict[str, object]:
    stale = _stale(c)
    return {"topics": sorted(topic for topic, _ in stale), "since": min(since for _, since in stale)}


def _raises(c: Context) -> Finding | None:
    return Finding("warning", frozen=_seen(c)) if _stale(c) else None


def _observe(c: Context) -> None:
    if _stale(c):
        c.open.frozen.update(_seen(c))


def _clears(c: Context) -> str | None:
    return None if _stale(c) else "recovered"


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    since, topics = c.open.frozen["since"], c.open.frozen["topics"]
    hours = (c.now - since) // HOUR_US
    sentence = (
        f"{c.subject} sent nothing on {', '.join(topics)} for {times(hours, 'hour')}, since "
        f"{from_us(since).strftime('%Y-%m-%d %H:%M')} UTC: far longer than usual. What its silence would say about "
        "accounts is held back."
    )
    return sentence, [evidence("hours_since_last_event", hours, "hours", window=(since, c.now))]


SIGNAL = Signal(
    id="pipeline.source_stale",
    version=1,
    title="A source of events has stopped",
    kind="risk",
    family="pipeline",
    scope="portfolio",
    severity="warning",
    pages=False,
    meaning=(
        "A source sends nothing on a topic for far longer than is usual about that hour of the week: past the longest gap "
        "but one of the last four weeks by 42 hours, or by three times what gaps were off lately; a source with events in "
        "fewer than 150 hours of four weeks, past one and a half times its longest gap but one as well. From two weeks of "
        "history on, with ten accounts and events on ten days and in 40 hours of four weeks. One per source, whatever the "
        "topics; clears when the source sends again on all of them. While it is open, and while a window still overlaps "
        "the hole, no condition of absence or drop that reads the source is raised for the accounts that it feeds."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4: usage is a proxy, and so is its absence",
    reads=Fact.SOURCES,
    inputs=("source.stale", "source.fresh"),
    needs=("source.stale",),
    action=Action(
        title="Ask the source's owner what stopped, and have the backlog sent",
        owner="product",
        playbook="source-stale",
        runbook="pipeline.source_stale",
    ),
    thresholds={"default": {}},
    raises=_raises,
    observe=_observe,
    clears=_clears,
    describe=_describe,
    subjects=_sources,
)


def _told(at: str, what: str, source: str, topic: str) -> tuple[str, str, dict[str, object]]:
    return (f"2026-03-{at}:00Z", f"source.{what}", {"source": source, "topic": topic, "since": "2026-03-01T18:00:00Z"})


CASES = [
    Case(
        name="stale, and fresh again; said twice, it is one",
        events=[
            _told("03T08:00", "stale", "app", "usage"),
            _told("03T09:00", "stale", "app", "usage"),
            _told("04T10:00", "fresh", "app", "usage"),
        ],
        until="2026-03-05",
        expect=[("2026-03-03T08:00:00Z", "raised", "warning"), ("2026-03-04T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="two topics of one source are one signal, over when both are back",
        events=[
            _told("03T08:00", "stale", "app", "usage"),
            _told("03T09:00", "stale", "app", "tickets"),
            _told("04T10:00", "fresh", "app", "usage"),
            _told("04T11:00", "fresh", "app", "tickets"),
        ],
        until="2026-03-05",
        expect=[("2026-03-03T08:00:00Z", "raised", "warning"), ("2026-03-04T11:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="two sources are two",
        events=[_told("03T08:00", "stale", "app", "usage"), _told("03T09:00", "stale", "crm", "usage")],
        until="2026-03-05",
        expect=[("2026-03-03T08:00:00Z", "raised", "warning"), ("2026-03-03T09:00:00Z", "raised", "warning")],
    ),
    Case(
        name="fresh without having been stale",
        events=[_told("03T08:00", "fresh", "app", "usage")],
        until="2026-03-05",
        expect=[],
    ),
]
