"""Own measures and signals in the real engine: what a backtest with the file says, byte for byte, also after a death."""

from __future__ import annotations

import datetime as dt
import json
import threading
from pathlib import Path

from deploy.local.kafka import LocalKafka
from services.demo.files import write_events
from services.demo.portfolio import simulate
from tests.e2e.test_replay_is_backtest import REPLAYING, all_said, backtest, check
from tests.harness import ebbtide, start_service

FILE = """
features:
  forecast: {core: true}
health:
  weights:
    low: {adoption: 50, support: 10, payment: 10, survey: 5, contract_growth: 10, self_sufficiency: 5,
          executive_relationship: 5, marketing_engagement: 3, advocacy: 1, community: 1}
measures:
  exports: {event: usage.feature_used, where: {feature: export}, sum: count}
  viewed: {event: usage.page_viewed}
  bad_ratings: {event: ticket.rated, where: {score: {at_most: 3}}}
signals:
  usage.decline: {thresholds: {default: {raise_at: 0.9, clear_at: 0.95}}}
  adoption.shelfware: {enabled: false}
  own.exports_fell:
    kind: risk
    title: Exports fell
    when:
      any_of:
        - {dropped: exports, percent: 30, days: {default: 14, high: 7}, baseline: 5, new_normal_days: 30}
        - {silent: exports, days: 10, used_days: 2, severity: critical}
    action: Ask
    owner: csm
  own.busy:
    kind: opportunity
    title: A busy week
    when: {all_of: [{count: viewed, at_least: 5, days: 7}, {count: usage, at_least: 10, days: 7}]}
    action: Ask
    owner: sales
  own.rated_badly:
    kind: risk
    title: Rated badly
    when: {count: bad_ratings, at_least: 1, days: 14}
    reason: "{value} bad ratings in {days} days."
    action: Call
    owner: support
"""


def test_a_replay_with_own_signals_is_their_backtest(
    clean_topics: LocalKafka, service_env: dict[str, str], tmp_path: Path
) -> None:
    file, recording = tmp_path / "catalogue.yaml", tmp_path / "events.ndjson.gz"
    file.write_text(FILE)
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    write_events(recording, [line for _, line in simulate(25, 120, 5, yesterday).events])
    env = service_env | REPLAYING | {"EBBTIDE_CATALOGUE_FILE": str(file), "EBBTIDE_ENGINE_BATCH": "500"}
    expected = backtest([recording], env)
    said = {json.loads(value)["data"]["signal"] for value in expected.values()}
    assert {"own.exports_fell", "own.busy", "own.rated_badly", "usage.decline"} <= said
    assert "adoption.shelfware" not in said

    sending = threading.Thread(
        target=ebbtide, args=("replay", str(recording)), kwargs={"env": service_env, "timeout": 300}
    )
    sending.start()
    try:
        dying = start_service("engine", env | {"FAILPOINT_OF_TEST": "state-acknowledged:6:kill"}, ready=False)
        assert dying.process.wait(120) == -9, dying.tail()
        engine = start_service("engine", env, within=90)
        sending.join()
        check(all_said(clean_topics.bootstrap, expected, 120), expected)
        assert engine.stop() == 0
    finally:
        sending.join()
        dying.kill()


def test_an_engine_with_a_broken_file_does_not_start(service_env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "catalogue.yaml"
    file.write_text(FILE.replace("raise_at: 0.9", "raise_at: 0.96"))
    engine = start_service("engine", service_env | {"EBBTIDE_CATALOGUE_FILE": str(file)}, ready=False)
    assert engine.process.wait(60) == 1
    assert "clear_at (0.95) must stay above raise_at (0.96)" in engine.tail()
