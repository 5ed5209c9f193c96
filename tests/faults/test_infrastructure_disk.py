"""The disk of the engine's local state is full: it stops and says so, loses nothing, and goes on when there is room."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults import bench, disk
from tests.integration.test_runtime import assert_exact, group, settle

__all__ = ["group"]  # the fixture


@pytest.mark.parametrize("group", ["chunked"], indirect=True)
def test_a_full_disk_ends_the_engine_with_what_to_do_and_costs_nothing(group: bench.Group, tmp_path: Path) -> None:
    """The copy is written after the changelog has the batch, so what does not fit is read again from there.

    If the copy were written first, or a refused write were passed over, its position would speak of records it lacks.
    """
    folder = tmp_path / "data"
    if disk.may_mount(folder):
        with disk.mounted(folder) as small:
            fill_and_free(group, small)
    else:
        fill_and_free(group, disk.LimitedFiles(folder))


@pytest.mark.long
@pytest.mark.parametrize("group", ["chunked"], indirect=True)
def test_files_that_may_not_grow_end_the_engine_with_what_to_do(group: bench.Group, tmp_path: Path) -> None:
    """The same by a limit of the process (a quota looks like this), on every machine."""
    fill_and_free(group, disk.LimitedFiles(tmp_path / "data"))


def fill_and_free(group: bench.Group, small: disk.Disk) -> None:
    """A worker on this disk under load: it fills up, stays full over a start, and is freed."""
    group.extra["EBBTIDE_DATA_DIR"] = str(small.folder)
    group.start("before")
    # More accounts than fit into what is left.
    load = bench.Load(group.bootstrap, rate=800, accounts=5000)
    try:
        time.sleep(2)
        small.fill()
        group.prefix = small.prefix
        if small.prefix:
            group.kill("before")  # the limit holds for processes that are started under it
        else:
            assert_said(group, "before", small)
        group.start("still-full", ready=False)
        assert_said(group, "still-full", small)
        small.free()
        group.prefix = small.prefix
        group.start("after")
        time.sleep(1)
    finally:
        sent = load.finish()
    settle(group, sent)
    assert_exact(group)
    # What the copy holds is right: a worker that goes on from it, and reads the changelog's end alone, is exact too.
    group.kill("after")
    group.start("from-the-copy")
    more = [
        bench.Message("usage", f"account-{n}", bench.event("usage", f"account-{n}", f"last-{n}", time.time()))
        for n in range(5000)
    ]
    bench.send(group.bootstrap, more)
    settle(group, sent + len(more))
    assert_exact(group)


def assert_said(group: bench.Group, name: str, small: disk.Disk) -> None:
    """The worker ends by itself, and its log says once which folder is concerned and what to do, with no traceback."""
    assert group.processes[name].wait(60) == 1, group.log(name)
    lines = (group.folder / f"{name}.log").read_text().splitlines()
    said = [line for line in lines if "the engine ends" in line]
    assert len(said) == 1, "\n".join(lines)
    assert str(small.folder) in said[0]
    assert "EBBTIDE_DATA_DIR" in said[0]
    assert "nothing is lost" in said[0]
    assert not [line for line in lines if "Traceback" in line], "\n".join(lines)
    assert len(lines) < 40, "\n".join(lines)
