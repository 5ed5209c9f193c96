"""Every setting of every process, read from `EBBTIDE_*` and an optional env file, validated whole before any connection.

One class on purpose: an operator sees one list, and the README's table is checked against it.
"""

from __future__ import annotations

import ipaddress
import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LOCAL_KAFKA_PORT = 29092
LOCAL_POSTGRES_PORT = 25432

_TARGET = r"(high|low|tech)=(0(\.[0-9]+)?|1(\.0+)?)"
RETENTION_TARGETS = rf"^({_TARGET}(,{_TARGET})*)?$"


class Settings(BaseSettings):
    """Configuration of all processes. Field `x_y` is the variable `EBBTIDE_X_Y`."""

    model_config = SettingsConfigDict(
        env_prefix="EBBTIDE_", env_file=".env", env_file_encoding="utf-8", extra="ignore", validate_default=True
    )

    data_dir: Path = Field(Path(".ebbtide"), description="where the local stack keeps broker, database, logs and state")

    # Kafka and Postgres. Unset means: the local stack's own, started by `ebbtide up`.
    kafka_bootstrap_servers: str | None = Field(None, description="brokers; unset: the local one")
    database_url: str | None = Field(None, description="postgresql://…; unset: the local one")
    local_kafka_port: int = Field(LOCAL_KAFKA_PORT, ge=1, le=65535, description="port of the local broker")
    local_kafka_controller_port: int = Field(29093, ge=1, le=65535, description="port of the local KRaft controller")
    local_postgres_port: int = Field(LOCAL_POSTGRES_PORT, ge=1, le=65535, description="port of the local database")
    maven_url: str = Field(
        "https://repo.maven.apache.org/maven2",
        description="Maven Central or a mirror: where the local broker comes from",
    )
    topic_partitions: int = Field(4, ge=1, le=512, description="partitions of every keyed topic, fixed at creation")
    topic_replication: int = Field(1, ge=1, le=7, description="replication factor at creation")

    # Listeners.
    api_host: str = Field("127.0.0.1", description="address the api listens on")
    api_port: int = Field(8080, ge=1, le=65535, description="port of the api")
    ingest_host: str = Field("127.0.0.1", description="address ingest listens on")
    ingest_port: int = Field(8081, ge=1, le=65535, description="port of ingest")
    metrics_host: str = Field("127.0.0.1", description="address of every metrics and health listener")
    metrics_port_ingest: int = Field(9101, ge=1, le=65535, description="metrics of ingest")
    metrics_port_engine: int = Field(9102, ge=1, le=65535, description="metrics, livez and readyz of the engine")
    metrics_port_recorder: int = Field(9103, ge=1, le=65535, description="metrics, livez and readyz of the recorder")
    metrics_port_api: int = Field(9104, ge=1, le=65535, description="metrics of the api")
    metrics_port_delivery: int = Field(9105, ge=1, le=65535, description="metrics, livez and readyz of delivery")

    # Engine.
    engine_runtime: Literal["chunked", "guarded"] = Field(
        "chunked", description="how the engine reads Kafka: chunked is fast, guarded needs public interfaces only"
    )
    engine_store: Literal["memory", "rocksdb"] = Field("rocksdb", description="local copy of the state")
    engine_app_id: str = Field("ebbtide-engine", description="Kafka group and changelog prefix of the engine")
    engine_batch: int = Field(4000, ge=1, le=100_000, description="most records applied in one effect")
    engine_session_timeout_s: float = Field(10.0, ge=1, description="Kafka group session timeout")
    ticks: Literal["on", "off", "after-replay"] = Field("on", description="live clock ticks by this engine worker")
    tick_interval_s: float = Field(5.0, gt=0, description="seconds between live ticks")
    tick_grace_s: float = Field(60.0, ge=0, description="a live tick says now minus this many seconds")
    dedupe_hours: int = Field(24, ge=1, le=168, description="a producer's retry counts once within this many hours")
    catalogue_file: Path | None = Field(None, description="operators' overrides and own signals (YAML)")

    # Ingest.
    ingest_mapping_file: Path | None = Field(None, description="event-name mapping for the tracking API (YAML)")
    ingest_key_cache_s: float = Field(30.0, ge=0, description="how long a write key's lookup is trusted")
    ingest_produce_timeout_s: float = Field(
        5.0, gt=0, description="how long a request waits for Kafka before it is told to come back"
    )
    stripe_secret: str | None = Field(None, description="whsec_… of the Stripe webhook")
    zendesk_secret: str | None = Field(None, description="signing secret of the Zendesk webhook")
    generic_webhook_secrets: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="JSON object, name to secret, for /v1/webhooks/generic/{name}"
    )

    # Portfolio.
    accounts_per_csm: int = Field(40, ge=1, le=10_000, description="accounts that one success manager can carry")
    retention_targets: str = Field(
        "high=1.0",
        pattern=RETENTION_TARGETS,
        description="share of customers that each tier should keep: tier=share, with commas between",
    )

    # Subscriptions.
    notify_within_hours: float = Field(
        24.0, gt=0, description="a transition that is older than this when it is recorded is told to no subscriber"
    )
    webhook_allow_private: bool = Field(
        False, description="webhooks may go to private and loopback addresses, and by plain http"
    )

    # Gauges, Alertmanager and the canary, all of delivery.
    gauges_interval_s: float = Field(
        15.0, ge=0.5, description="seconds between two counts of what is open, for the metrics"
    )
    alertmanager_url: str | None = Field(
        None,
        pattern=r"^https?://[^,\s]+(,https?://[^,\s]+)*$",
        description="Alertmanager to which signals that page are pushed, several with commas; unset: none",
    )
    console_url: str | None = Field(
        None, pattern=r"^https?://", description="where people reach the console, for links; unset: the api's address"
    )
    canary_write_key: str | None = Field(
        None, description="write key of the canary, which sends an event each minute; unset: no canary"
    )
    canary_ingest_url: str | None = Field(
        None, pattern=r"^https?://", description="where the canary finds ingest; unset: EBBTIDE_INGEST_HOST and _PORT"
    )
    canary_interval_s: float = Field(60.0, ge=10, le=3600, description="seconds between two events of the canary")

    # Console.
    console_user_header: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="header in which a proxy names the user who is signed in; unset: people sign in with keys",
    )
    console_trusted_proxies: str = Field(
        "", description="addresses and networks whose word in that header counts, with spaces between"
    )

    # Logs.
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe line logged")
    log_format: Literal["text", "json"] = Field("text", description="text for people, json for machines")

    @field_validator("generic_webhook_secrets", mode="before")
    @classmethod
    def _from_json(cls, given: object) -> object:
        # Decoded here and not by the settings source, whose error would hide every other one.
        if not isinstance(given, str):
            return given
        try:
            return json.loads(given)
        except ValueError as error:
            raise ValueError(f"not a JSON object: {error}") from None

    @field_validator("console_trusted_proxies")
    @classmethod
    def _of_networks(cls, given: str) -> str:
        for part in given.split():
            try:
                ipaddress.ip_network(part, strict=False)
            except ValueError:
                raise ValueError(f"{part!r} is no address or network, such as 10.0.0.7 or 10.0.0.0/24") from None
        return given

    @property
    def bootstrap(self) -> str:
        """Kafka bootstrap servers in use: the given ones or the local broker."""
        return self.kafka_bootstrap_servers or f"127.0.0.1:{self.local_kafka_port}"

    @property
    def database(self) -> str:
        """SQLAlchemy URL (asyncpg driver) in use: the given one or the local database."""
        url = self.database_url or f"postgresql://postgres@127.0.0.1:{self.local_postgres_port}/ebbtide"
        for plain in ("postgresql://", "postgres://"):
            if url.startswith(plain):
                return "postgresql+asyncpg://" + url.removeprefix(plain)
        return url


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once. Raises pydantic's ValidationError naming every bad variable at once."""
    return Settings()  # type: ignore[call-arg]  # every field has a default; pydantic's plugin is not loaded
