"""The engine's source relies on private parts of faust-streaming, mode-streaming and aiokafka. They are held here.

A failure says that one of them changed. Until it is understood, EBBTIDE_ENGINE_RUNTIME=guarded needs none of the private
attributes. Read the diff of what is named, run the integration and fault tests of the runtime on both runtimes, then renew
the record: `python -m tests.contract.test_runtime_contract` writes it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
import json
import re
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from aiokafka import client as aiokafka_client
from aiokafka import conn as aiokafka_connection
from aiokafka.consumer import consumer as aiokafka_consumer
from aiokafka.consumer import fetcher, subscription_state
from faust import events
from faust.app import base as app_base
from faust.streams import Stream
from faust.tables import base as table_base
from faust.tables import manager, recovery
from faust.transport import conductor
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver

RECORD = Path(__file__).parent / "runtime_contract.json"
PINNED = ("faust-streaming", "mode-streaming", "aiokafka")

# Overridden or called by the runtime, or an assumption about them is what makes it right.
FUNCTIONS: dict[Any, tuple[str, ...]] = {
    faust_consumer.Consumer: (
        "_drain_messages",
        "_wait_next_records",
        "_get_active_partitions",
        "_set_active_tps",
        "perform_seek",
        "seek",
        "pause_partitions",
        "resume_partitions",
        "on_partitions_revoked",
        "on_partitions_assigned",
        "wait_empty",
        "_wait_for_ack",
        "_clean_unacked_messages",
        "commit",
        "force_commit",
        "_commit_tps",
        "_filter_committable_offsets",
        "_filter_tps_with_pending_acks",
        "_new_offset",
        "_should_commit",
        "_commit_offsets",
        "verify_all_partitions_active",
        "on_stop",
    ),
    driver.Consumer: ("_to_message", "_new_consumer_thread"),
    driver.AIOKafkaConsumerThread: (
        "getmany",
        "_fetch_records",
        "seek_to_committed",
        "earliest_offsets",
        "_commit",
        "on_partitions_revoked",
    ),
    driver.ConsumerRebalanceListener: ("on_partitions_revoked", "on_partitions_assigned"),
    recovery.Recovery: (
        "_add",
        "on_rebalance",
        "_restart_recovery",
        "on_recovery_completed",
        "_resume_streams",
        "_slurp_changelogs",
        "_build_offsets",
        "_seek_offsets",
        "flush_buffers",
    ),
    manager.TableManager: ("on_rebalance", "_update_channels"),
    table_base.Collection: ("persisted_offset", "apply_changelog_batch", "on_rebalance", "on_recovery_completed"),
    app_base.App: (
        "_on_partitions_revoked",
        "_on_partitions_assigned",
        "_stop_consumer",
        "on_rebalance_start",
        "on_rebalance_end",
        "_new_transport",
    ),
    conductor.Conductor: ("acks_enabled_for", "on_partitions_assigned"),
    Stream: ("maybe_start",),
    events.Event: ("__init__",),
    aiokafka_client.AIOKafkaClient: ("_get_conn",),
    aiokafka_connection.AIOKafkaConnection: ("send", "connected"),
    aiokafka.AIOKafkaProducer: ("create_batch", "send_batch"),
    aiokafka_consumer.AIOKafkaConsumer: ("seek_to_committed", "seek", "highwater"),
    fetcher.Fetcher: ("fetched_records",),
    subscription_state.TopicPartitionState: ("consumed_to", "reset_to", "seek"),
}

ATTRIBUTES: dict[Any, tuple[str, ...]] = {
    faust_consumer.Consumer: (
        "_unacked_messages",
        "_waiting_for_ack",
        "_read_offset",
        "_committed_offset",
        "_active_partitions",
        "_paused_partitions",
        "_buffered_partitions",
        "flow_active",
    ),
    driver.AIOKafkaConsumerThread: ("_consumer",),
    recovery.Recovery: ("tp_to_table", "active_tps", "active_offsets", "buffers", "in_recovery"),
    conductor.Conductor: ("_tp_index",),
    aiokafka_consumer.AIOKafkaConsumer: ("_fetcher", "_subscription"),
    fetcher.Fetcher: ("_fetch_max_wait_ms",),
    subscription_state.TopicPartitionState: ("highwater", "_position"),
}


def name_of(owner: Any, name: str) -> str:
    return f"{owner.__module__}.{owner.__qualname__}.{name}"


def source_hash(owner: Any, name: str) -> str:
    function = getattr(owner, name)
    function = function.fget if isinstance(function, property) else inspect.unwrap(getattr(function, "fun", function))
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]


def current() -> dict[str, Any]:
    return {
        "versions": {package: importlib.metadata.version(package) for package in PINNED},
        "functions": {
            name_of(owner, name): source_hash(owner, name) for owner, names in FUNCTIONS.items() for name in names
        },
    }


@pytest.mark.parametrize("package", PINNED)
def test_the_pinned_version_is_the_one_that_was_read(package: str) -> None:
    recorded = json.loads(RECORD.read_text())["versions"]
    assert importlib.metadata.version(package) == recorded[package]
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'"{package}=={recorded[package]}"' in project


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in FUNCTIONS.items() for name in names])
def test_a_function_that_is_relied_on_reads_as_it_was_read(owner: Any, name: str) -> None:
    recorded = json.loads(RECORD.read_text())["functions"]
    assert source_hash(owner, name) == recorded[name_of(owner, name)]


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in ATTRIBUTES.items() for name in names])
def test_a_private_attribute_that_is_relied_on_is_there(owner: Any, name: str) -> None:
    modules = "\n".join(inspect.getsource(inspect.getmodule(each)) for each in owner.__mro__ if each is not object)
    assert f"self.{name}" in modules or f"def {name}(" in modules or f"    {name}:" in modules


HIDDEN: dict[str, set[str]] = {
    "services.signals.runtime.source.InputConsumer": {
        "on_partitions_assigned",
        "perform_seek",
        "seek",
        "seek_to_committed",
        "verify_all_partitions_active",
    },
    "services.signals.runtime.chunked.ChunkedConsumer": {
        "_drain_messages",
        "_filter_tps_with_pending_acks",
        "_new_offset",
    },
    "services.signals.runtime.guarded.GuardedConsumer": {"getmany", "seek_to_committed"},
}


@pytest.mark.parametrize("path", HIDDEN)
def test_a_source_hides_nothing_of_its_base_but_what_it_means_to(path: str) -> None:
    module, _, name = path.rpartition(".")
    own = {each for each in vars(getattr(importlib.import_module(module), name)) if not each.startswith("__")}
    hidden = {each for each in own if hasattr(driver.Consumer, each)}
    # What mode and abc put into every class.
    assert hidden - {"logger", "log", "_abc_impl", "abstract", "_init_subclass_logger", "_tasks"} == HIDDEN[path]


@pytest.mark.parametrize("module", ["source", "guarded"])
def test_the_guarded_runtime_touches_nothing_private_of_faust(module: str) -> None:
    """Every `_name` that these files read of the consumer or the app is their own."""
    text = (Path(__file__).parents[2] / f"services/signals/runtime/{module}.py").read_text()
    own = set(re.findall(r"def (_\w+)\(|self\.(_\w+)(?:: [^=\n]+)? = ", text + source_text()))
    names = {name for pair in own for name in pair if name}
    touched = set(re.findall(r"\.(_[a-z]\w*)", text))
    assert touched - names == set()


def source_text() -> str:
    """What the guarded runtime inherits from."""
    return (Path(__file__).parents[2] / "services/signals/runtime/source.py").read_text()


if __name__ == "__main__":
    RECORD.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n")
