"""Every Prometheus metric of every process: a closed vocabulary, one section per process.

Docs, dashboards and alert rules are checked against this file. An account id is never a label: there are too many.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

# --- every process -------------------------------------------------------------------------------------------------

PROCESS = Gauge("ebbtide_process_info", "1, with the process's name and the package's version", ["process", "version"])
READY = Gauge("ebbtide_ready", "1 while /readyz says yes, else 0; read when it is scraped", ["process"])
LOG_LINES = Counter("ebbtide_log_lines_total", "Lines logged, by level", ["level"])
DISK_FREE = Gauge(
    "ebbtide_disk_free_bytes",
    "Bytes that may still be written where this process keeps data, by what it keeps there; read when it is scraped",
    ["what"],
)
DISK_SIZE = Gauge("ebbtide_disk_size_bytes", "Size of the file system that holds it, in bytes", ["what"])

# --- ingest --------------------------------------------------------------------------------------------------------

INGEST_REQUESTS = Counter(
    "ebbtide_ingest_requests_total", "Requests answered, by route and status", ["route", "status"]
)
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
INGEST_STRAIGHT_LINKS = Counter(
    "ebbtide_ingest_straight_links_total", "Links made or withdrawn by events sent straight to the topic accounts"
)
INGEST_LETTERS = Counter(
    "ebbtide_ingest_letters_total",
    "Unattributed dead letters: replayed, replayed_before, refused (still make no event), let_go (more than are held)",
    ["outcome"],
)
INGEST_LETTERS_WAITING = Gauge("ebbtide_ingest_letters_waiting", "Unattributed dead letters that wait for a link")
INGEST_LINKS = Gauge("ebbtide_ingest_attribution_links", "Names (users, foreign ids) that are linked to an account")

# --- recorder ------------------------------------------------------------------------------------------------------

RECORDER_RECORDS = Counter("ebbtide_recorder_records_total", "Records read, by topic", ["topic"])
RECORDER_ROWS = Counter(
    "ebbtide_recorder_rows_total", "Rows written, by kind: transition, health, timeline, erasure, feed", ["kind"]
)
RECORDER_REFUSED = Counter(
    "ebbtide_recorder_refused_total",
    "Records kept aside, by reason: undecodable, contradiction, unrecordable",
    ["reason"],
)
RECORDER_RECONCILED = Counter(
    "ebbtide_recorder_reconciled_total", "Episodes that a health record put right: a stale worker's transition"
)
RECORDER_STALE_HEALTH = Counter(
    "ebbtide_recorder_stale_health_total", "Health records ignored because a newer one is recorded"
)
RECORDER_SKIPPED = Counter(
    "ebbtide_recorder_skipped_offsets_total", "Offsets that the broker no longer had when they were due", ["topic"]
)
RECORDER_RETRIES = Counter("ebbtide_recorder_retries_total", "Starts over after Postgres or Kafka failed", ["lane"])
RECORDER_LAG = Gauge("ebbtide_recorder_lag_records", "Records appended and not yet recorded", ["topic", "partition"])
RECORDER_BEHIND = Gauge(
    "ebbtide_recorder_behind_seconds", "Age of the oldest record not yet recorded; 0 when all are", ["lane"]
)
RECORDER_WRITE_SECONDS = Histogram(
    "ebbtide_recorder_write_seconds",
    "Seconds that one transaction took",
    ["lane"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)

# --- delivery ------------------------------------------------------------------------------------------------------

DELIVERY_RETRIES = Counter("ebbtide_delivery_retries_total", "Starts over after Postgres failed, by part", ["part"])

# --- engine --------------------------------------------------------------------------------------------------------

ENGINE_RECORDS = Counter(
    "ebbtide_engine_records_total",
    "Records consumed, by what became of them: records = ticks + applied + duplicate + dead; dedupe_unchecked of applied",
    ["outcome", "topic"],
)
ENGINE_DEAD_LETTERS = Counter("ebbtide_engine_dead_letters_total", "Dead letters written, by reason", ["reason"])
ENGINE_TRANSITIONS = Counter("ebbtide_engine_transitions_total", "Signal transitions published, repeats included")
ENGINE_LAG = Gauge("ebbtide_engine_lag_records", "Records appended and not yet applied", ["topic", "partition"])
ENGINE_BEHIND = Gauge("ebbtide_engine_behind_seconds", "Age of the record applied last while more wait; else 0")
ENGINE_CLOCK = Gauge(
    "ebbtide_engine_clock_seconds", "The least clock of this worker's partitions, Unix time; 0: none yet"
)
ENGINE_TICKED = Gauge(
    "ebbtide_engine_ticked_seconds", "What the last live tick of this worker said, Unix time; 0: none"
)
ENGINE_BATCH_SECONDS = Histogram(
    "ebbtide_engine_batch_seconds",
    "From a batch of records taken to all its effects acknowledged",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
ENGINE_BATCH_RECORDS = Histogram(
    "ebbtide_engine_batch_records", "Records in a batch", buckets=(1, 10, 100, 500, 1000, 2000, 4000, 16000)
)
ENGINE_PARTITIONS = Gauge("ebbtide_engine_partitions", "Partitions this worker has")
ENGINE_OPEN_SECONDS = Gauge("ebbtide_engine_open_seconds", "How long the last opening of recovered partitions took")
ENGINE_REPLAYING = Gauge(
    "ebbtide_engine_replaying_partitions", "Partitions in which a replay is open: they are not ticked"
)
ENGINE_REFUSED_STATE = Counter(
    "ebbtide_engine_refused_state_total", "State records refused because their writer had lost the partition"
)
ENGINE_OVER_CAP = Counter(
    "ebbtide_engine_over_cap_total", "What was not kept of an account because it had as much as is kept"
)
ENGINE_NEAR_CAP = Gauge(
    "ebbtide_engine_near_cap_accounts",
    "Accounts with four fifths or more of what is kept open, seen since the start",
    ["collection"],
)
ENGINE_SOURCE = Counter(
    "ebbtide_engine_source_total",
    "What happened while fetching: dropped (records, at rebalances), rewinds, holes, pauses",
    ["what"],
)

# --- api -----------------------------------------------------------------------------------------------------------

API_REQUESTS = Counter("ebbtide_api_requests_total", "Requests answered, by route and status", ["route", "status"])
API_SECONDS = Histogram(
    "ebbtide_api_request_seconds",
    "From the request's first byte read to the answer's last byte handed over, by route",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)

# --- api: /v1/stream -----------------------------------------------------------------------------------------------

STREAM_WATCHERS = Gauge("ebbtide_stream_watchers", "Streams that this process is sending the feed to")
STREAM_ENTRIES = Counter("ebbtide_stream_entries_total", "Feed entries handed to streams, one for each stream")
STREAM_CUT = Counter("ebbtide_stream_cut_total", "Streams that were ended because their client reads too slowly")

# --- delivery: webhooks --------------------------------------------------------------------------------------------

WEBHOOK_ATTEMPTS = Counter(
    "ebbtide_webhook_attempts_total",
    "Times that a message was sent: delivered, refused (an answer other than 2xx), unreachable (no answer)",
    ["outcome"],
)
WEBHOOK_SECONDS = Histogram(
    "ebbtide_webhook_attempt_seconds",
    "From a message sent to its answer",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
)
WEBHOOK_MESSAGES = Counter(
    "ebbtide_webhook_messages_total",
    "Messages that came to an end: delivered, failed (given up), withdrawn (the account was erased)",
    ["state"],
)
WEBHOOK_ENDPOINTS = Gauge(
    "ebbtide_webhook_endpoints", "Endpoints: well, failing (since the last attempt), disabled", ["state"]
)
WEBHOOK_BEHIND = Gauge(
    "ebbtide_webhook_behind_seconds", "Age of the oldest entry of the feed that an enabled endpoint has yet to pass"
)
WEBHOOK_DISABLED = Counter(
    "ebbtide_webhook_disabled_total", "Endpoints disabled: gone (410), failing (for five days)", ["because"]
)

# --- delivery: Alertmanager ----------------------------------------------------------------------------------------

ALERTMANAGER_PUSHES = Counter(
    "ebbtide_alertmanager_pushes_total",
    "Rounds in which all alerts were sent to Alertmanager, by result: ok, failed (tried again in the next round)",
    ["result"],
)
ALERTMANAGER_ALERTS = Gauge(
    "ebbtide_alertmanager_alerts", "Alerts in the last round that Alertmanager took: firing, resolved", ["state"]
)
ALERTMANAGER_LAST_SUCCESS = Gauge(
    "ebbtide_alertmanager_last_success_timestamp_seconds",
    "When Alertmanager last took everything, Unix time; 0: not yet, or not in use",
)

# --- delivery: canary ----------------------------------------------------------------------------------------------

CANARY_SECONDS = Histogram(
    "ebbtide_canary_seconds",
    "From a synthetic event that ingest accepted until its signal can be read in Postgres",
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
CANARY_FAILURES = Counter(
    "ebbtide_canary_failures_total",
    "Probes that came to nothing, by stage: accept (ingest did not take the event), signal (none within 30 s)",
    ["stage"],
)
CANARY_LAST_SUCCESS = Gauge(
    "ebbtide_canary_last_success_timestamp_seconds",
    "When a probe's signal was last seen, Unix time; 0: not yet, or not in use",
)

# --- delivery: what is open ----------------------------------------------------------------------------------------
#
# Each of them has a label, so that it has no value at all where it was not measured: in the other processes, in a second
# delivery process, and while the database is away. Reserved accounts (`_…`) are left out everywhere.

OPEN_SIGNALS = Gauge(
    "ebbtide_open_signals",
    "Signals that the engine has open and nobody has closed, by signal, severity, tier (none: not known), owner (a role)",
    ["signal", "severity", "tier", "owner"],
)
SIGNALS_SHOWN = Gauge(
    "ebbtide_signals_shown",
    "Signals that the engine has open, by the status that people see: open, acknowledged, snoozed, closed",
    ["status", "severity", "owner"],
)
UNACKNOWLEDGED = Gauge(
    "ebbtide_unacknowledged_critical",
    "Critical signals that are shown as open: nobody has acknowledged, snoozed or closed them",
    ["signal", "owner"],
)
UNACKNOWLEDGED_OLDEST = Gauge(
    "ebbtide_unacknowledged_critical_oldest_seconds",
    "How long the oldest of them has been known: since its latest transition, or since it was recorded if that was later",
    ["signal", "owner"],
)
ARR_AT_RISK = Gauge(
    "ebbtide_arr_at_risk",
    "ARR of customers with an open risk of warning or above, by currency and the worst of their risks",
    ["currency", "severity"],
)
ACKNOWLEDGED = Gauge(
    "ebbtide_acknowledged_last_7d",
    "Signals that were first acknowledged, snoozed or closed in the last 7 days",
    ["severity"],
)
ACKNOWLEDGE_SECONDS = Gauge(
    "ebbtide_acknowledge_seconds_last_7d",
    "From a signal's raise (or its recording, if later) to its first acknowledgement, of the last 7 days, by quantile",
    ["severity", "quantile"],
)
CLOSED = Gauge("ebbtide_closed_last_7d", "Signals that people closed in the last 7 days, by outcome", ["outcome"])
RAISED = Gauge(
    "ebbtide_signals_raised",
    "Signals raised, by event time: in the last_day, and in the week_before that day",
    ["period", "kind"],
)
STALE_SOURCES = Gauge("ebbtide_stale_sources", "Sources of events that have gone quiet, by topic", ["topic"])
PORTFOLIO_AGE = Gauge(
    "ebbtide_portfolio_measure_age_seconds",
    "Since the end of the latest day of which the portfolio was measured, by whether every partition was told: true, false",
    ["told"],
)
OPEN_MEASURED = Gauge(
    "ebbtide_open_signals_age_seconds",
    "Since what is open was last measured, or since this process began to; read when it is scraped",
    ["process"],
)
OPEN_SECONDS = Gauge("ebbtide_open_signals_measure_seconds", "How long that measurement took", ["process"])
REACHABLE = Gauge(
    "ebbtide_reachable", "1 where the server answered the last question of this process, else 0", ["server"]
)

# -------------------------------------------------------------------------------------------------------------------


def watch_disk(what: str, folder: Path) -> None:
    """Show how full the file system of `folder` is from now on. It is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)

    def free() -> float:
        found = os.statvfs(folder)
        return float(found.f_bavail * found.f_frsize)

    def size() -> float:
        found = os.statvfs(folder)
        return float(found.f_blocks * found.f_frsize)

    DISK_FREE.labels(what).set_function(free)
    DISK_SIZE.labels(what).set_function(size)
