"""Where a key goes must be what every other client computes."""

from __future__ import annotations

import random

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.kafka import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "hashed"),
    # The vectors of Kafka's own UtilsTest.testMurmur2, as signed 32-bit numbers.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hash_is_kafkas(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF


@settings(deadline=None)
@given(st.binary(max_size=140), st.integers(1, 512))
def test_partition_is_the_clients(key: bytes, partitions: int) -> None:
    everyone = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everyone, everyone)


def test_accounts_spread_evenly() -> None:
    rng = random.Random(1)
    counts = [0] * 8
    for _ in range(8000):
        counts[partition_of(f"acct-{rng.randrange(10**9)}".encode(), 8)] += 1
    assert max(counts) < 1.2 * min(counts)
