"""Laws of what people do to signals: the fold of acts, and the status that is shown."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.api.lifecycle import UNHANDLED, Act, ActName, Handling, apply, fold, shown, taken_back

START = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@st.composite
def histories(draw: st.DrawFn) -> list[Act]:
    """Acts on one episode as they can be kept: later ones at later times, an undo of an act that is in force."""
    acts: list[Act] = []
    ordinal = 1
    for version in range(1, draw(st.integers(0, 10)) + 1):
        ordinal += draw(st.integers(0, 1))
        at = START + HOUR * version
        in_force = [act.version for act in acts if act.version not in taken_back(acts)]
        names: list[ActName] = ["acknowledge", "snooze", "assign", "close", "comment"]
        name: ActName = draw(st.sampled_from([*names, "undo"] if in_force else names))
        data: dict[str, object] = {}
        undoes = None
        match name:
            case "snooze":
                data = {"until": (at + HOUR * draw(st.integers(1, 9))).isoformat(), "reason": "away"}
            case "assign":
                data = {"to": draw(st.sampled_from(["ana", "ben", None]))}
            case "close":
                data = {"outcome": draw(st.sampled_from(["saved", "saved_by_concession", "false_alarm", "no_action"]))}
            case "undo":
                undoes = draw(st.sampled_from(in_force))
        acts.append(
            Act(
                version=version,
                act=name,
                actor="ana",
                at=at,
                severity="warning",
                ordinal=ordinal,
                data=data,
                undoes=undoes,
            )
        )
    return acts


HANDLINGS = histories().map(fold)
ORDINALS = st.integers(1, 14)
TIMES = st.integers(0, 30).map(lambda hours: START + HOUR * hours)


@given(histories())
def test_one_act_more_is_the_fold_with_one_act_more(acts: list[Act]) -> None:
    for count, act in enumerate(acts):
        before, after = fold(acts[:count]), fold(acts[: count + 1])
        assert after.version == count + 1
        if act.act != "undo":
            same = apply(before, act)
            assert replace(after, version=0, first_acknowledged_at=None) == replace(
                same, version=0, first_acknowledged_at=None
            )


@given(histories())
def test_an_undo_leaves_what_would_be_had_the_act_never_been(acts: list[Act]) -> None:
    for act in acts:
        if act.act in ("undo",) or act.version in taken_back(acts):
            continue
        undo = replace(acts[-1], version=len(acts) + 1, act="undo", undoes=act.version)
        without = [replace(a, act="comment", data={}) if a.version == act.version else a for a in acts]
        told = replace(fold([*acts, undo]), first_acknowledged_at=None, version=0)
        assert told == replace(fold(without), first_acknowledged_at=None, version=0)
        redone = fold([*acts, undo, replace(undo, version=undo.version + 1, undoes=undo.version)])
        assert replace(redone, version=len(acts)) == fold(acts)


@given(histories(), histories())
def test_who_first_took_it_up_stays(acts: list[Act], more: list[Act]) -> None:
    first = fold(acts).first_acknowledged_at
    later = [replace(act, version=act.version + len(acts), undoes=None) for act in more]
    if first is not None:
        assert fold([*acts, *later]).first_acknowledged_at == first


@given(HANDLINGS, ORDINALS, TIMES)
def test_cleared_is_cleared_whatever_people_said(handling: Handling, ordinal: int, now: dt.datetime) -> None:
    assert shown(cleared=True, ordinal=ordinal, handling=handling, now=now) == "cleared"


@given(histories(), TIMES)
def test_an_escalation_always_shows_again(acts: list[Act], now: dt.datetime) -> None:
    last = max((act.ordinal for act in acts), default=0)
    assert shown(cleared=False, ordinal=last + 1, handling=fold(acts), now=now) == "open"


@given(histories(), ORDINALS, TIMES)
def test_a_snooze_ends_by_time_and_nothing_else_does(acts: list[Act], ordinal: int, now: dt.datetime) -> None:
    handling = fold(acts)
    status = shown(cleared=False, ordinal=ordinal, handling=handling, now=now)
    ends = handling.snoozed_until
    if status == "snoozed":
        assert ends is not None
        assert now < ends
        assert shown(cleared=False, ordinal=ordinal, handling=handling, now=ends) in ("open", "acknowledged")
    else:
        assert shown(cleared=False, ordinal=ordinal, handling=handling, now=now + 1000 * HOUR) == status


@given(histories(), st.integers(0, 2000))
def test_a_concession_keeps_showing_until_somebody_acts_again(acts: list[Act], hours: int) -> None:
    ordinal = max((act.ordinal for act in acts), default=1)
    version = len(acts) + 1
    at = START + HOUR * version
    conceded = Act(
        version=version,
        act="close",
        actor="ana",
        at=at,
        severity="warning",
        ordinal=ordinal,
        data={"outcome": "saved_by_concession"},
    )
    handling = fold([*acts, conceded])
    assert shown(cleared=False, ordinal=ordinal, handling=handling, now=at + HOUR * hours) == "acknowledged"


@given(HANDLINGS, ORDINALS, TIMES)
def test_the_status_depends_on_nothing_else(handling: Handling, ordinal: int, now: dt.datetime) -> None:
    told = replace(
        handling,
        version=99,
        assignee="cleo",
        pool="north",
        snooze_reason="other",
        acknowledged_by="dan",
        acknowledged_at=None,
        closed_at=None,
        churn_reason="quality",
        first_acknowledged_at=None,
    )
    as_told = shown(cleared=False, ordinal=ordinal, handling=told, now=now)
    assert as_told == shown(cleared=False, ordinal=ordinal, handling=handling, now=now)


def test_nothing_said_is_open() -> None:
    assert shown(cleared=False, ordinal=1, handling=UNHANDLED, now=START) == "open"
    assert fold([]) == UNHANDLED
