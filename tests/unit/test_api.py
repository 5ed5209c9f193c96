"""Cursors, paths and problems, before any server."""

from __future__ import annotations

import base64
import datetime as dt
import json
from decimal import Decimal
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api import cursors
from services.api.auth import TRUSTED_S, Keys
from services.api.paths import SegmentConvertor, canonical
from services.common.keys import Key, hash_secret
from services.common.problems import FieldError, Problem, bad_parameter

INSTANTS = st.datetimes(min_value=dt.datetime(1, 1, 2), max_value=dt.datetime(9999, 12, 30), timezones=st.just(dt.UTC))
IDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=128)


@given(
    st.one_of(
        st.builds(cursors.ByOpened, st.just("o"), INSTANTS, IDS),
        st.builds(cursors.ByText, st.just("o"), IDS, IDS),
        st.builds(cursors.ByDate, st.just("o"), st.dates(), IDS),
        st.builds(cursors.ByInstant, st.just("o"), INSTANTS, IDS),
        st.builds(cursors.ByNumber, st.just("o"), st.decimals(-(10**9), 10**9, places=2), IDS),
    )
)
def test_a_cursor_comes_back_as_it_went(place: cursors.Place) -> None:
    cursor = cursors.encode(place)
    assert cursor == quote(cursor, safe="")
    assert cursors.decode(cursor, type(place), "o") == place


def forged(*members: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "=",
        "%%%",
        "ä",
        "x" * 5000,
        forged(),
        forged("opened_at"),
        forged("opened_at", "2026-01-01T00:00:00", "e"),
        forged("opened_at", "2026-01-01T00:00:00Z", "e\x00"),
        forged("opened_at", "2026-01-01T00:00:00Z", 5),
        forged("opened_at", "2026-01-01T00:00:00Z", "e", 1),
        forged("opened_at", "0001-01-01T00:00:00+23:00", "e"),
        forged("timeline", "2026-01-01T00:00:00Z", "e"),
        cursors.encode(cursors.ByText("name", "a", "b")),
    ],
)
def test_a_cursor_that_is_none_is_refused_by_name(cursor: str) -> None:
    with pytest.raises(Problem) as refused:
        cursors.decode(cursor, cursors.ByOpened, "opened_at")
    assert refused.value.status == 400
    assert [error.field for error in refused.value.errors] == ["cursor"]


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e999"])
def test_a_cursor_with_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(Problem):
        cursors.decode(forged("mrr", amount, "a"), cursors.ByNumber, "mrr")
    assert cursors.decode(forged("mrr", "1.5", "a"), cursors.ByNumber, "mrr").value == Decimal("1.5")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40))
def test_any_id_survives_its_way_through_a_path(account_id: str) -> None:
    path = canonical(f"/v1/accounts/{quote(account_id, safe='')}/signals?x=1".encode())
    parts = path.split("/")
    assert (len(parts), parts[4]) == (5, "signals")
    assert SegmentConvertor().convert(parts[3]) == account_id


def test_a_path_has_one_canonical_form() -> None:
    assert canonical(b"/v1/%73ignals/a%2fb") == canonical(b"/v1/signals/a%2Fb") == "/v1/signals/a%2Fb"
    assert canonical(b"/v1/accounts/100%") == "/v1/accounts/100%25"


def test_a_problem_names_its_field_and_lists_several() -> None:
    one = json.loads(bad_parameter(FieldError("limit", "too high")).body())
    assert one == {
        "type": "urn:ebbtide:problem:invalid-parameter",
        "title": "A parameter is not valid",
        "status": 400,
        "detail": "limit: too high",
        "field": "limit",
        "errors": [{"field": "limit", "detail": "too high"}],
    }
    two = json.loads(bad_parameter(FieldError("limit", "too high"), FieldError("x", "unknown")).body())
    assert "field" not in two
    assert [entry["field"] for entry in two["errors"]] == ["limit", "x"]


READER = Key("1", None, frozenset({"read"}), None)


async def test_a_key_is_looked_up_once_and_again_when_it_is_old() -> None:
    asked: list[bytes] = []
    now = 0.0

    async def lookup(secret: str) -> Key | None:
        asked.append(hash_secret(secret))
        return READER if secret == "eb_good" else None

    keys = Keys(lookup, clock=lambda: now)
    for _ in range(3):
        assert await keys.of("Bearer eb_good") == READER
    with pytest.raises(Problem) as unknown:
        await keys.of("bearer eb_bad")
    assert (unknown.value.status, unknown.value.headers) == (401, {"www-authenticate": "Bearer"})
    assert len(asked) == 2
    now = TRUSTED_S
    assert await keys.of("Bearer eb_good") == READER
    assert len(asked) == 3


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic eb_good", "eb_good", "Bearer " + "x" * 600])
async def test_without_a_key_nothing_is_looked_up(header: str | None) -> None:
    async def lookup(secret: str) -> Key | None:
        raise AssertionError("looked up")

    with pytest.raises(Problem) as refused:
        await Keys(lookup).of(header)
    assert refused.value.status == 401


async def test_a_database_that_is_away_is_no_reason_to_say_no() -> None:
    async def lookup(secret: str) -> Key | None:
        raise OSError

    with pytest.raises(Problem) as refused:
        await Keys(lookup).of("Bearer eb_good")
    assert refused.value.status == 503


@pytest.mark.parametrize(
    ("scopes", "scope", "allowed"),
    [
        ({"read"}, "read", True),
        ({"operate"}, "read", True),
        ({"admin"}, "operate", True),
        ({"read"}, "operate", False),
        ({"ingest"}, "read", False),
        ({"admin"}, "ingest", False),
    ],
)
def test_what_a_scope_includes(scopes: set[str], scope: str, allowed: bool) -> None:
    assert Key("1", None, frozenset(scopes), None).allows(scope) is allowed
