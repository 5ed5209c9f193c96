"""The whole api against its own description: whatever is sent, no defect, and no answer that `/openapi.json` does not tell of."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deploy.local.kafka import LocalKafka
from schemas.events import INPUT_TOPICS
from tests.contract.test_api import records
from tests.harness import Service, new_key, start_service
from tests.letters import PARTITIONS, commit, produce, refused, used
from tests.served import fill

STREAMS: Final = ("/v1/stream", "/v1/live")
"""They do not end: each has tests of its own."""
EXAMPLES: Final = 20
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
SCOPES: Final = (*("admin",) * 5, "operate", "operate", "read", "none")
"""Mostly who may do it: a refusal is soon told."""


class Described:
    """The running api with rows, its description, and keys by scope (`none`: one that is not known)."""

    def __init__(self, service: Service, env: dict[str, str]) -> None:
        self.service = service
        self.keys = {scope: new_key(env, scope) for scope in ("read", "operate", "admin")} | {"none": "eb_unknown"}
        self.schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")

    def known(self) -> dict[str, list[str]]:
        """Ids of things that there are, by the name of the path's parameter."""
        session = requests.Session()
        session.headers["authorization"] = f"Bearer {self.keys['admin']}"
        signals = session.get(f"{self.service.url}/v1/signals", timeout=10).json()["items"]
        hook = {"url": "https://example.com/hook"}
        hooks = [session.post(f"{self.service.url}/v1/webhooks", json=hook, timeout=10).json() for _ in range(2)]
        session.put(f"{self.service.url}/v1/people/ana", json={"scopes": ["operate"]}, timeout=10)
        session.put(f"{self.service.url}/v1/pools/team", json={"policy": "load", "members": ["ana"]}, timeout=10)
        views = session.get(f"{self.service.url}/v1/views", timeout=10).json()["items"]
        return {
            "account_id": [signal["account"]["account_id"] for signal in signals[:20]],
            "episode_id": [signal["episode_id"] for signal in signals[:20]],
            "name": [view["name"] for view in views],
            "webhook_id": [hook["webhook_id"] for hook in hooks],
            "user_id": ["ana"],
            "pool_id": ["team"],
            "delivery_id": ["1"],
        }


@pytest.fixture
def described(clean_topics: LocalKafka, service_env: dict[str, str]) -> Iterator[Described]:
    asyncio.run(fill(service_env["EBBTIDE_DATABASE_URL"], records()))
    produce(clean_topics, *(("dead-letters", b"acme", used(n, count="many"), refused(n)) for n in range(3)))
    commit(clean_topics, {(topic, n): 1_000_000 for topic in INPUT_TOPICS for n in range(PARTITIONS)})
    service = start_service("api", service_env)
    try:
        yield Described(service, service_env)
    finally:
        service.stop()


def test_nothing_that_is_sent_finds_a_defect_or_an_answer_that_is_not_described(described: Described) -> None:
    known = described.known()
    operations = [found.ok() for found in described.schema.get_all_operations()]
    asked = [operation for operation in operations if operation.path not in STREAMS]
    assert len(asked) > 40
    # Erasing accounts last: the others are to find them.
    asked.sort(key=lambda operation: operation.method.upper() == "DELETE")
    wrong = [problem for operation in asked if (problem := tried(described, operation, known)) is not None]
    assert not wrong, "\n\n".join(wrong)


def either(operation: Any) -> st.SearchStrategy[Any]:
    """Requests as the description says, and requests that break it; the latter where there is anything to break."""
    said = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if not (operation.query or operation.body or operation.path_parameters):
        return said
    return st.one_of(said, said, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))


def tried(described: Described, operation: Any, known: dict[str, list[str]]) -> str | None:
    """What is wrong with an operation, None where nothing was found."""
    session = requests.Session()

    @seed(6)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=either(operation), scope=st.sampled_from(SCOPES), choice=st.integers(0, 59))
    def attempt(case: Any, scope: str, choice: int) -> None:
        # Two in three times something that there is, so that what lies behind a 404 is reached.
        if case.path_parameters and choice % 3:
            for name in case.path_parameters:
                some = known.get(name)
                if some:
                    case.path_parameters[name] = some[choice % len(some)]
        if choice % 2 and isinstance(case.body, dict) and "version" in case.body:
            case.body["version"] = 0  # as it stands before the first act
        case.headers = {**(case.headers or {}), "authorization": f"Bearer {described.keys[scope]}"}
        case.call_and_validate(base_url=described.service.url, session=session, checks=CHECKS, timeout=20)

    random.seed(6)
    try:
        attempt()
    except Exception as error:
        return f"{operation.method.upper()} {operation.path}: {error}"
    return None
