"""What the ends of the input topics tell: how far each partition's clock is, and how much of a run is there already.

The topics themselves are asked, since nothing else knows what a killed sender had got through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from schemas.codec import decode
from schemas.envelope import Event
from schemas.events.control import TICK_TYPE
from services.common.kafka import BrokerUnreachable
from services.demo.events import us

SEQUENCE, RUN_START = "sequence", "run-start"
FIRST_BLOCK = 256
BLOCK_GROWTH = 8


class Tail(NamedTuple):
    """The end of one topic-partition. `tick_us`: what its last tick says (None: it has none), and whether that tick
    was historical. `sequence`: the last one of the run that was asked about (None: nothing of it is there)."""

    tick_us: int | None
    historical: bool
    sequence: int | None


async def read_tails(
    bootstrap: str, partitions: Mapping[str, int], run_start_us: int | None = None
) -> dict[TopicPartition, Tail]:
    """The tail of every partition of the topics in `partitions` (topic to number of partitions).

    Reads backwards until the last tick is found and, where `run_start_us` names a run, that run's last record. Raises
    BrokerUnreachable.
    """
    all_of_them = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, client_id="ebbtide", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        begins = await consumer.beginning_offsets(all_of_them)
        ends = await consumer.end_offsets(all_of_them)
        # Assigned once, and every position set in the same breath: aiokafka waits for ever to stop when an assignment
        # is replaced while it still looks for a position.
        consumer.assign(all_of_them)
        for partition in all_of_them:
            consumer.seek(partition, ends[partition])
        return {
            partition: await _tail(consumer, partition, begins[partition], ends[partition], run_start_us)
            for partition in all_of_them
        }
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnreachable(bootstrap, error) from error
    finally:
        await consumer.stop()


async def _tail(
    consumer: AIOKafkaConsumer, partition: TopicPartition, begin: int, end: int, run_start_us: int | None
) -> Tail:
    tick: tuple[int, bool] | None = None
    sequence: int | None = None
    high, block = end, FIRST_BLOCK
    while high > begin and (tick is None or (run_start_us is not None and sequence is None)):
        low = max(begin, high - block)
        for record in reversed(await _records(consumer, partition, low, high)):
            if tick is None:
                tick = _tick(record)
            if sequence is None and run_start_us is not None:
                sequence = _sequence(record, run_start_us)
        high, block = low, block * BLOCK_GROWTH
    return Tail(tick[0] if tick else None, tick[1] if tick else False, sequence)


async def _records(
    consumer: AIOKafkaConsumer, partition: TopicPartition, low: int, high: int
) -> list[ConsumerRecord[bytes | None, bytes | None]]:
    consumer.seek(partition, low)
    records: list[ConsumerRecord[bytes | None, bytes | None]] = []
    while await consumer.position(partition) < high:
        got = await consumer.getmany(partition, timeout_ms=1000)
        records.extend(record for record in got.get(partition, ()) if record.offset < high)
    return records


def _tick(record: ConsumerRecord[bytes | None, bytes | None]) -> tuple[int, bool] | None:
    if record.key is not None or record.value is None or TICK_TYPE.encode() not in record.value:
        return None
    event = decode(record.topic, None, record.value)
    if not isinstance(event, Event) or event.type != TICK_TYPE:
        return None
    return us(event.data.now), event.data.historical


def _sequence(record: ConsumerRecord[bytes | None, bytes | None], run_start_us: int) -> int | None:
    headers = dict(record.headers)
    if headers.get(RUN_START) != b"%d" % run_start_us or SEQUENCE not in headers:
        return None
    return int(headers[SEQUENCE])
