"""Where the processes of the product listen, and which variable says so."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.settings import Settings


@dataclass(frozen=True)
class Listener:
    """An address that some process binds. `field` is the settings field that moves its port."""

    field: str
    host: str
    port: int


def variable(field: str) -> str:
    """Environment variable of a settings field."""
    return "EBBTIDE_" + field.upper()


def listeners(config: Settings) -> list[Listener]:
    """Every address that the whole product on one machine binds, with the local broker and database where used."""
    hosts = {"api_port": config.api_host, "ingest_port": config.ingest_host}
    hosts |= {field: config.metrics_host for field in Settings.model_fields if field.startswith("metrics_port_")}
    if config.kafka_bootstrap_servers is None:
        hosts |= {"local_kafka_port": "127.0.0.1", "local_kafka_controller_port": "127.0.0.1"}
    if config.database_url is None:
        hosts |= {"local_postgres_port": "127.0.0.1"}
    return [Listener(field, host, getattr(config, field)) for field, host in hosts.items()]


def base_urls(config: Settings) -> dict[str, str]:
    """Base URL of the listener on which each service answers /livez and /readyz."""
    return {
        "engine": f"http://{config.metrics_host}:{config.metrics_port_engine}",
        "recorder": f"http://{config.metrics_host}:{config.metrics_port_recorder}",
        "api": f"http://{config.api_host}:{config.api_port}",
        "ingest": f"http://{config.ingest_host}:{config.ingest_port}",
        "delivery": f"http://{config.metrics_host}:{config.metrics_port_delivery}",
    }
