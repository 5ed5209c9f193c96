"""The metrics that exist, by the code that makes them, and those that a text names."""

from __future__ import annotations

import re

import yaml
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from services.common import metrics
from tests.deploy.monitoring import PROMETHEUS

FAMILIES = {
    family._name + ("_total" if isinstance(family, Counter) else ""): family
    for family in vars(metrics).values()
    if isinstance(family, MetricWrapperBase)
}
"""Every metric of every process, by its name as scraped (a histogram's without its suffixes)."""

SERIES = {name: tuple(family._labelnames) for name, family in FAMILIES.items()}
"""Labels by name."""

KINDS = {name: type(family).__name__.lower() for name, family in FAMILIES.items()}

NAME = re.compile(r"\bebbtide[_:][a-z0-9_:]*[a-z0-9](?=[^a-z0-9_:]|$)")
OTHERS = re.compile(r"\bprocess_(?:start_time_seconds|resident_memory_bytes|cpu_seconds_total|open_fds)\b|\bup(?=\{)")
"""What the client library and Prometheus themselves make."""


def known() -> set[str]:
    """Every name that a query may use: series, a histogram's parts, recorded ones."""
    found: set[str] = set()
    for name, family in FAMILIES.items():
        if isinstance(family, Histogram):
            found |= {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
        else:
            assert isinstance(family, Counter | Gauge)
            found.add(name)
    for path in (PROMETHEUS / "rules").glob("*.yaml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            found |= {rule["record"] for rule in group["rules"] if "record" in rule}
    return found


KNOWN = known()


def metrics_in(text: str) -> set[str]:
    """The metrics that a query names."""
    return set(NAME.findall(text)) | set(OTHERS.findall(text))


def unknown_in(text: str) -> set[str]:
    """The project's metrics that a text names and nothing makes."""
    return {name for name in NAME.findall(text) if name not in KNOWN}
