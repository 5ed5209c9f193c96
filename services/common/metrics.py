"""Every Prometheus metric of every process: a closed vocabulary, one section per process.

Docs, dashboards and alert rules are checked against this file. An account id is never a label: there are too many.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# --- every process -------------------------------------------------------------------------------------------------

PROCESS = Gauge("ebbtide_process_info", "1, with the process's name and the package's version", ["process", "version"])
READY = Gauge("ebbtide_ready", "1 while /readyz says yes, else 0; read when it is scraped", ["process"])
LOG_LINES = Counter("ebbtide_log_lines_total", "Lines logged, by level", ["level"])

# --- ingest --------------------------------------------------------------------------------------------------------

INGEST_REQUESTS = Counter("ebbtide_ingest_requests_total", "Requests answered, by route and status", ["route", "status"])
INGEST_EVENTS = Counter(
    "ebbtide_ingest_events_total",
    "Events and calls: accepted, rejected (told), retry (not acknowledged), dead_letter, ignored (make no event)",
    ["family", "result", "reason"],
)
INGEST_PRODUCE_SECONDS = Histogram(
    "ebbtide_ingest_produce_seconds",
    "From a batch handed to the Kafka client until it was acknowledged",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
INGEST_BODY_BYTES = Gauge("ebbtide_ingest_body_bytes", "Decoded bodies of the requests being answered, in bytes")
INGEST_LINKS = Gauge("ebbtide_ingest_attribution_links", "Names (users, foreign ids) that are linked to an account")
