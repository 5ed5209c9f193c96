"""Erasing an account: the event that says so goes the way of every event, and whoever holds anything deletes it."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

import msgspec
from aiokafka.errors import KafkaError
from sqlalchemy import exists, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.db.tables import Account, Episode, TimelineEntry
from schemas.events.accounts import TOPIC
from services.common import kafka
from services.common.kafka import BrokerUnreachable
from services.common.problems import unavailable
from services.common.settings import Settings

SOURCE: Final = "ebbtide/api"


async def is_known(connection: AsyncConnection, account_id: str) -> bool:
    """Whether anything is recorded of an account."""
    held = (
        exists(select(literal(1)).where(table.account_id == account_id)) for table in (Account, Episode, TimelineEntry)
    )
    return bool((await connection.execute(select(or_(*held)))).scalar_one())


def erased(account_id: str, now: dt.datetime) -> tuple[str, bytes]:
    """Id and bytes of the event that erases an account."""
    id_ = str(uuid.uuid4())
    event = {
        "specversion": "1.0",
        "id": id_,
        "source": SOURCE,
        "type": "account.erased",
        "subject": account_id,
        "time": now,
        "data": {},
    }
    return id_, msgspec.json.encode(event)


async def send(settings: Settings, account_id: str, value: bytes) -> None:
    """Send the event; returns once every in-sync replica has it. Raises Problem 503 where that cannot be had."""
    try:
        producer = await kafka.producer(settings)
        try:
            await producer.send_and_wait(TOPIC, value, key=account_id.encode())
        finally:
            await producer.stop()
    except (BrokerUnreachable, KafkaError, OSError, TimeoutError) as error:
        raise unavailable(f"the broker did not keep the erasure ({type(error).__name__}); try again") from error
