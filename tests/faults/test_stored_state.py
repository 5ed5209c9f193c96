"""State that an older program wrote is taken up exactly; state that cannot be read stops the engine, which says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from services.signals.core.codec import VERSION
from services.signals.runtime.effects import CLAIM_KEY
from tests.faults import checker, log
from tests.faults.load import Historical, Sender
from tests.faults.run import FaultRun
from tests.faults.stored import FOLDER, Beginning, Record, Snapshot

Runs = Callable[..., FaultRun]
FILES = sorted(FOLDER.glob("format_*.msgpack.gz"))


def append(run: FaultRun, records: list[Record]) -> None:
    """Append records to the run's changelog."""
    producer = Producer({"bootstrap.servers": run.bootstrap, "linger.ms": 5})
    for record in records:
        producer.produce(
            log.changelog_of(run.app_id),
            record.value,
            record.key,
            partition=record.partition,
            headers=list(record.headers.items()),
        )
        producer.poll(0)
    assert producer.flush(60) == 0


def test_every_format_has_its_bytes_kept() -> None:
    found = [number for path in FILES for number in Snapshot.read(path).formats()]
    assert found == list(range(1, VERSION + 1)), "python -m tests.faults.stored writes today's"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.partition(".")[0])
def test_a_program_goes_on_from_stored_state(fault_run: Runs, path: Path) -> None:
    """The state is that of half a recording; the rest of it is sent; all of it must come out, and nothing else."""
    snapshot = Snapshot.read(path)
    with fault_run() as run:
        sender = Sender(run.bootstrap, Beginning(snapshot, snapshot.sent), rate=1e6, partitions=4)
        sender.join()
        append(run, snapshot.changelog)
        # What was said in the first half was said by the older program.
        run.start_worker("a")
        rest = snapshot.sequence[snapshot.sent :]
        sender.close_with(iter(rest))
        run.take_over(sender, snapshot)
        run.settle()
        verdict = run.judge()
        lost = [problem for problem in verdict.problems if "is lost" in problem or "no dead letter" in problem]
        wrong = [problem for problem in verdict.problems if problem not in lost and not problem.startswith("… and")]
        assert not wrong
        assert verdict.figures["transitions"] > len(lost) > 0


UNREADABLE = {
    "of a newer format": lambda value: bytes([99]) + value[1:],
    "damaged": lambda value: value[: checker.HEADER.size] + b"\xc1" + value[checker.HEADER.size :],
    "cut off": lambda value: value[:7],
}


@pytest.mark.long
@pytest.mark.parametrize("damage", UNREADABLE)
@pytest.mark.parametrize("kind", [b"p", b"a"], ids=["partition", "account"])
def test_state_that_cannot_be_read_is_refused_and_kept(fault_run: Runs, kind: bytes, damage: str) -> None:
    with fault_run(restarts=False) as run:
        load = Historical(400, seed=78, days=30)
        run.start_worker("a")
        sender = run.load(load, rate=1e6)
        sender.join()
        run.progress(0)
        last: dict[bytes, log.Stored] = {}
        until = time.monotonic() + 60
        while not last and time.monotonic() < until:
            written = log.read(run.bootstrap, [log.changelog_of(run.app_id)])
            last = {r.key: r for r in written if r.key and r.key[:1] == kind and r.value and r.partition == 0}
        assert last, "no state of the kind was written"
        run.kill("a", again=False)
        written = log.read(run.bootstrap, [log.changelog_of(run.app_id)])
        last = {r.key: r for r in written if r.key and r.key[:1] == kind and r.value and r.partition == 0}
        for record in last.values():
            value = UNREADABLE[damage](record.value)
            append(run, [Record(0, record.key or b"", value, {"epoch": b"1000"})])
        after = log.read(run.bootstrap, [log.changelog_of(run.app_id)])
        for _ in range(4):  # more often than a record is tried before it is put aside
            run.start_worker("a", ready=False, EBBTIDE_DATA_DIR=str(run.folder / "empty"))
            sender.close_with(load.closing())
            assert run.wait_ended("a", run.workers["a"].process, within=120) == 1, run.tail("a")
        said = run.workers["a"].log.read_text()
        assert "state record" in said, said[-2000:]
        assert "replay" in said or "newer program" in said or "restore the changelog" in said, said[-2000:]
        before = [record.value for record in after if record.partition == 0]
        written = [r for r in log.read(run.bootstrap, [log.changelog_of(run.app_id)]) if r.partition == 0]
        assert [record.value for record in written[: len(before)]] == before
        # A program that starts claims the partition; it writes nothing that it could not read.
        assert {(r.key, r.value) for r in written[len(before) :]} <= {(CLAIM_KEY, None)}, "something was overwritten"
        assert not [r for r in log.read(run.bootstrap, [log.DEAD_LETTERS]) if r.headers["reason"] == b"poison"]
