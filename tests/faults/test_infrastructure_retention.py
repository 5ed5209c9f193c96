"""Records deleted before they were applied: said and counted, and no reason to stand still or to apply others wrong."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.faults import bench
from tests.integration.test_runtime import group, settle

__all__ = ["group"]  # the fixture

pytestmark = pytest.mark.long

AWAY = 400


def test_a_log_deleted_past_what_was_applied_is_gone_past_and_said(group: bench.Group) -> None:
    """As retention does to an engine that was away too long; the position it wants to go on from is no more.

    Without the second look at a position, the engine would wait for ever for a record that cannot come (a topic that
    seems to be behind holds its whole partition back); without the line, nobody would know what is missing.
    """
    group.start("before")
    first = send(group, "first", AWAY)
    settle(group, AWAY)
    group.progress()
    group.terminate("before")
    send(group, "second", AWAY)
    ends = bench.ends(group.bootstrap)
    # Of two partitions everything goes, of the others what was sent meanwhile is half kept.
    wanted = {
        place: end if place[1] < 2 else (first[place] + end) // 2 for place, end in ends.items() if place[0] == "usage"
    }
    admin = AdminClient({"bootstrap.servers": group.bootstrap})
    deletions = admin.delete_records([TopicPartition(*place, offset) for place, offset in wanted.items()])
    for done in deletions.values():
        done.result(20)
    group.start("after")
    send(group, "third", AWAY)
    # Where a partition went on empty, nothing is missing until its next record came.
    lost = sum(max(0, offset - first[place]) for place, offset in wanted.items())
    assert 0 < lost < AWAY
    settle(group, 3 * AWAY - lost)
    time.sleep(1)
    assert sum(account.count for account in bench.states(group.bootstrap, group.app_id).values()) == 3 * AWAY - lost
    said = [line for line in group.log("after").splitlines() if "cannot be read any more" in line]
    assert len(said) == 4, group.log("after")
    assert sum(int(line.partition("missing=")[2].split()[0]) for line in said) == lost
    # Once past, it is past: a restart goes on without a word.
    group.terminate("after")
    group.start("again")
    send(group, "fourth", AWAY)
    settle(group, 4 * AWAY - lost)
    assert "cannot be read" not in group.log("again")


def send(group: bench.Group, name: str, count: int) -> dict[tuple[str, int], int]:
    """`count` usage events over many accounts; returns where the input topics end after them."""
    now = time.time()
    bench.send(
        group.bootstrap,
        [
            bench.Message("usage", f"account-{n % 40}", bench.event("usage", f"account-{n % 40}", f"{name}-{n}", now))
            for n in range(count)
        ],
    )
    return bench.ends(group.bootstrap)
