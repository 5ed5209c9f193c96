"""People, pools and their keys on the command line, the local stack's own, and an account erased over HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer
from sqlalchemy import text

from deploy.local.kafka import LocalKafka
from schemas import codec
from schemas.envelope import Event
from services.cli.tour import PERSON, local_keys
from services.common import db, keys
from services.common.settings import Settings
from services.signals.recorder.main import write_signals
from services.signals.recorder.records import signal_row
from tests.harness import ebbtide, new_key, start_service
from tests.recorded import health


def test_users_and_pools_by_hand(service_env: dict[str, str]) -> None:
    added = ebbtide("users", "add", "ana", "--name", "Ana Ito", "--scope", "operate", "--json", env=service_env)
    assert json.loads(added.stdout)["scopes"] == ["operate"]
    more = ebbtide("keys", "create", "--user", "ana", "--scope", "admin", env=service_env, ok=False)
    assert (more.returncode, "'ana' has operate" in more.stderr) == (2, True)
    pool = ebbtide("pools", "set", "north", "--member", "ana", "--member", "zoe", env=service_env, ok=False)
    assert (pool.returncode, "members: no user zoe" in pool.stderr) == (2, True)
    ebbtide("pools", "set", "north", "--member", "ana", env=service_env)
    assert "north  round_robin  ana  0 given out" in ebbtide("pools", "list", env=service_env).stdout
    ebbtide("users", "disable", "ana", env=service_env)
    assert "disabled" in ebbtide("users", "list", env=service_env).stdout


async def test_the_tour_has_a_key_to_act_as_a_success_manager(migrated_database: str, tmp_path: Path) -> None:
    config = Settings(database_url=migrated_database, data_dir=tmp_path)
    made = await asyncio.to_thread(local_keys, config)
    assert await asyncio.to_thread(local_keys, config) == made
    engine = db.create_engine(migrated_database, process="test", pool_size=1)
    try:
        key = await keys.lookup(engine, made.person_key)
        async with engine.connect() as connection:
            asked = text("SELECT members FROM pools WHERE pool_id = 'pool.digital'")
            members = (await connection.execute(asked)).scalar_one()
    finally:
        await engine.dispose()
    assert key is not None
    assert (key.actor, key.allows("operate"), key.allows("admin")) == (PERSON, True, False)
    assert PERSON in members


async def test_an_account_is_erased_by_an_event_that_the_broker_keeps(
    service_env: dict[str, str], clean_topics: LocalKafka, migrated_database: str
) -> None:
    connection = await db.connect(migrated_database, process="test")
    async with connection.transaction():
        await write_signals(connection, [signal_row(health("a/b", 1))])
    await connection.close()
    secrets = [await asyncio.to_thread(new_key, service_env, scope) for scope in ("operate", "admin")]
    service = await asyncio.to_thread(start_service, "api", service_env)
    try:
        async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:

            async def erase(path: str, secret: str) -> httpx.Response:
                return await client.delete(path, headers={"authorization": f"Bearer {secret}"})

            assert (await erase("/v1/accounts/a%2Fb", secrets[0])).status_code == 403
            assert (await erase("/v1/accounts/nobody", secrets[1])).status_code == 404
            told = await erase("/v1/accounts/a%2Fb", secrets[1])
            assert told.status_code == 202, told.text
            trail = (await client.get("/v1/audit", headers={"authorization": f"Bearer {secrets[1]}"})).json()["items"]
    finally:
        await asyncio.to_thread(service.stop)
    consumer = AIOKafkaConsumer(
        "accounts", bootstrap_servers=clean_topics.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        record = await asyncio.wait_for(consumer.getone(), 30)
    finally:
        await consumer.stop()
    assert record.key == b"a/b"
    decoded = codec.decode("accounts", record.key, record.value)
    assert isinstance(decoded, Event)
    assert (decoded.type, decoded.subject, decoded.id) == ("account.erased", "a/b", told.json()["event_id"])
    assert (trail[0]["action"], trail[0]["subject"]) == ("account.erased", "a/b")
