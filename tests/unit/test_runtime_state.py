"""The fence over the changelog, the stores under it, and what else the runtime keeps on disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rocksdict

from services.signals.runtime import checks, stores
from services.signals.runtime.checks import InputCut, TopicsMismatch, copartitioned, not_cut
from services.signals.runtime.fence import Fence, next_epoch
from services.signals.runtime.poison import PoisonLog
from services.signals.runtime.slots import claim
from services.signals.runtime.stores import DiskStore, MemoryStore, PartitionStore, StoreError


def value(epoch: int, text: str = "") -> bytes:
    return bytes([epoch]) + text.encode()


def record(key: str, content: bytes | None, epoch: int | None = None) -> Any:
    headers = () if epoch is None else (("epoch", b"%d" % epoch),)
    return SimpleNamespace(key=key.encode(), value=content, headers=headers)


def fence(newest: int = 0) -> Fence:
    return Fence(newest, lambda raw: raw[0])


def test_epochs_rise_though_the_groups_generation_starts_again() -> None:
    assert next_epoch(0, 1) == 1
    assert next_epoch(7, 9) == 9
    assert next_epoch(50, 1) == 51


def test_records_of_rising_epochs_are_all_accepted() -> None:
    f = fence()
    records = [record("a", value(1)), record("b", value(1)), record("a", value(4)), record("c", None, 4)]
    assert f.accept(records) == [(b"a", value(1)), (b"b", value(1)), (b"a", value(4)), (b"c", None)]
    assert not f.refused
    assert f.newest == 4


def test_a_late_write_of_an_older_epoch_is_refused_whole() -> None:
    f = fence()
    f.accept([record("a", value(1, "good")), record("b", value(1, "good")), record("own", value(2))])
    assert f.accept([record("a", value(1, "late")), record("c", None, 1), record("own", value(1))]) == []
    assert list(f.refused) == [b"a", b"c", b"own"]


def test_a_key_that_is_written_again_needs_no_repair() -> None:
    f = fence(5)
    f.accept([record("a", value(4)), record("b", value(4)), record("a", value(5))])
    assert list(f.refused) == [b"b"]


def test_a_repair_counts_by_its_header_though_its_value_is_old() -> None:
    f = fence(5)
    assert f.accept([record("a", value(4, "late")), record("a", value(3, "good"), 6)]) == [(b"a", value(3, "good"))]
    assert not f.refused
    assert f.newest == 6


def test_a_copy_that_goes_on_reading_refuses_what_is_older_than_itself() -> None:
    assert fence(newest=8).accept([record("a", value(7))]) == []


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PartitionStore:
    if request.param == "memory":
        return MemoryStore()
    return DiskStore(tmp_path / "0", rocksdict.Cache(1 << 20))


def test_a_store_starts_empty_and_nowhere(store: PartitionStore) -> None:
    assert (store.offset, store.epoch) == (-1, 0)
    assert store.get(b"a") is None
    assert list(store.items()) == []


def test_a_write_is_whole_with_its_position(store: PartitionStore) -> None:
    store.write([(b"a", b"1"), (b"b", b"2"), (b"", b"empty key"), (b"z", b"")], (3, 1))
    store.write([(b"a", None), (b"b", b"3")], (5, 2))
    assert dict(store.items()) == {b"b": b"3", b"": b"empty key", b"z": b""}
    assert (store.get(b"a"), store.get(b"b")) == (None, b"3")
    assert (store.offset, store.epoch) == (5, 2)


def test_a_write_without_a_position_stays_where_it_stands(store: PartitionStore) -> None:
    store.write([(b"a", b"1")], (3, 1))
    store.write([(b"a", b"2")], None)
    assert (store.get(b"a"), store.offset, store.epoch) == (b"2", 3, 1)


def test_items_show_the_state_at_their_start(store: PartitionStore) -> None:
    store.write([(b"a", b"1"), (b"b", b"1")], (1, 1))
    seen = []
    for key, _ in store.items():  # noqa: PERF102  # it is no dict
        store.write([(b"c" + key, b"2")], (2, 1))
        seen.append(key)
    assert sorted(seen) == [b"a", b"b"]


def test_a_disk_store_is_there_again_after_a_restart(tmp_path: Path) -> None:
    first = stores.on_disk(tmp_path)
    first[2].write([(b"a", b"1")], (9, 4))
    first.close()
    again = stores.on_disk(tmp_path)
    assert (again[2].get(b"a"), again[2].offset, again[2].epoch) == (b"1", 9, 4)
    again.keep([])
    other = stores.on_disk(tmp_path)
    assert other[2].get(b"a") == b"1", "a partition that went away can be opened by another worker"
    other.close()


def test_a_copy_that_rested_longer_than_deletions_are_kept_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 1_700_000_000.0
    monkeypatch.setattr(stores.time, "time", lambda: written)
    copies = stores.on_disk(tmp_path)
    copies[0].write([(b"deleted since", b"x")], (5, 1))
    copies.close()
    monkeypatch.setattr(stores.time, "time", lambda: written + stores.TRUSTED_S)
    copies = stores.on_disk(tmp_path)
    assert copies[0].offset == 5
    copies.close()
    monkeypatch.setattr(stores.time, "time", lambda: written + stores.TRUSTED_S + 1)
    copies = stores.on_disk(tmp_path)
    assert copies[0].offset == -1
    assert copies[0].get(b"deleted since") is None
    copies.close()


def test_a_copy_that_cannot_be_opened_names_its_folder_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "7").write_text("no database")
    copies = stores.on_disk(tmp_path)
    with pytest.raises(StoreError, match=r"EBBTIDE_DATA_DIR.*nothing is lost") as caught:
        copies[7]
    assert str(tmp_path / "7") in str(caught.value)


def test_a_copy_of_another_changelog_is_discarded(tmp_path: Path) -> None:
    copies = stores.on_disk(tmp_path)
    copies[0].write([(b"a", b"1")], (9, 1))
    copies[1].write([(b"a", b"1")], (9, 1))
    copies.close()
    assert stores.discard_foreign(tmp_path, {0: 10, 1: 3}) == [1]
    left = stores.on_disk(tmp_path)
    assert (left[0].get(b"a"), left[1].get(b"a")) == (b"1", None)
    left.close()


def test_a_record_is_put_aside_after_three_failures_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "poison.json"
    assert [PoisonLog(path).failed("usage", 1, 17) for _ in range(2)] == [1, 2]
    assert PoisonLog(path).diverted("usage", 1) == frozenset()
    assert PoisonLog(path).failed("usage", 1, 17) == 3
    log = PoisonLog(path)
    assert log.diverted("usage", 1) == {17}
    assert log.diverted("usage", 2) == log.diverted("tickets", 1) == frozenset()


def test_a_damaged_count_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "poison.json"
    path.write_text("{")
    assert PoisonLog(path).failed("usage", 0, 1) == 1


def test_workers_on_one_machine_get_folders_of_their_own(tmp_path: Path) -> None:
    first, second = claim(tmp_path), claim(tmp_path)
    assert first.folder != second.folder
    first.release()
    third = claim(tmp_path)
    assert third.folder == first.folder
    second.release()
    third.release()


def test_equal_partition_counts_are_one_number() -> None:
    assert copartitioned({"a": 4, "b": 4, "c": 9}, ["a", "b"]) == 4


def test_unequal_partition_counts_name_each_topic_and_what_to_do() -> None:
    with pytest.raises(TopicsMismatch, match=r"a 4, b 8.*EBBTIDE_TOPIC_PARTITIONS"):
        copartitioned({"a": 4, "b": 8}, ["a", "b"])


def test_state_past_the_end_of_its_input_is_refused_with_what_to_do() -> None:
    not_cut({("usage", 0): -1, ("usage", 1): 9}, {("usage", 0): 0, ("usage", 1): 10})
    with pytest.raises(InputCut, match=r"usage-1 ends at offset 9.*applied offset 9.*EBBTIDE_ENGINE_APP_ID"):
        not_cut({("usage", 1): 9}, {("usage", 1): 9})


@pytest.mark.parametrize(("counts", "said"), [({"a": 8, "b": 8}, "a 8, b 8"), ({"a": 4, "b": 6}, r"\(b 6\)")])
def test_counts_that_change_while_the_engine_runs_are_refused(counts: dict[str, int], said: str) -> None:
    checks.unchanged({"a": 4, "b": 4}, ["a", "b"], 4)
    with pytest.raises(checks.TopicsMismatch, match=said):
        checks.unchanged(counts, ["a", "b"], 4)
