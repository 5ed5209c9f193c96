"""The published contract: committed as generated, true by another reader's judgement, and not broken without saying so."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

from schemas import generate
from schemas.compatibility import CONTRACT_VERSION, breaks
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.generate import EXAMPLES, FOLDER, OUTPUTS
from schemas.topics.registry import topics

SHOWN = sorted(path for name in (*EVENT_TYPES, *OUTPUTS) for path in (EXAMPLES / name).glob("*.json"))
REFUSED = sorted((EXAMPLES / "refused").glob("*.json"))
FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time")  # type: ignore[untyped-decorator]
def is_instant(value: object) -> bool:
    """RFC 3339 section 5.6, read by the standard library."""
    if not isinstance(value, str):
        return True
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", value):
        return False
    try:
        dt.datetime.fromisoformat(value)
    except ValueError:
        return False
    return value[11:13] != "24"


@FORMATS.checks("date")  # type: ignore[untyped-decorator]
def is_date(value: object) -> bool:
    if not isinstance(value, str):
        return True
    try:
        return dt.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(load(FOLDER / f"{name}.schema.json"), format_checker=FORMATS)


def test_committed_as_generated() -> None:
    made = generate.files()
    assert made.keys() | {generate.RELEASED, generate.CATALOGUE} == {path.name for path in FOLDER.iterdir()}
    assert [name for name, text in made.items() if (FOLDER / name).read_text("utf-8") != text] == []


def test_nothing_released_is_broken() -> None:
    assert generate.broken_promises(generate.released()) == []
    assert generate.released()["version"] == CONTRACT_VERSION


@pytest.mark.parametrize("name", [*EVENT_TYPES, *OUTPUTS])
def test_is_json_schema(name: str) -> None:
    Draft202012Validator.check_schema(load(FOLDER / f"{name}.schema.json"))


@pytest.mark.parametrize("path", SHOWN, ids=named)
def test_example_is_valid(path: Path) -> None:
    example = load(path)
    shown = example["headers"] if path.parent.name == "dead-letters" else example
    assert [error.message for error in validator(path.parent.name).iter_errors(shown)] == []


@pytest.mark.parametrize("path", [path for path in REFUSED if load(path)["schema_refuses"]], ids=named)
def test_refused_example_is_invalid_at_the_same_member(path: Path) -> None:
    example = load(path)
    errors = list(validator(example["event"]["type"]).iter_errors(example["event"]))
    assert errors
    field = re.sub(r"\[[^]]*\]", "", example["refused"]["field"])
    for error in errors:
        at = [part for part in error.absolute_path if isinstance(part, str)]
        missing = re.match(r"'(\w+)' is a required property", error.message)
        reached = ".".join([*at, *([missing.group(1)] if missing else [])])
        # In a union the reader says only which member fits none of the alternatives.
        assert field == reached or (error.validator == "anyOf" and field.startswith(f"{reached}."))


@pytest.mark.parametrize("path", [path for path in REFUSED if not load(path)["schema_refuses"]], ids=named)
def test_what_is_said_to_be_beyond_a_schema_is(path: Path) -> None:
    example = load(path)
    name = example.get("event", {}).get("type")
    if name in EVENT_TYPES:
        assert list(validator(name).iter_errors(example["event"])) == []


def test_every_object_of_an_output_says_what_is_always_there() -> None:
    for name in OUTPUTS:
        for definition in load(FOLDER / f"{name}.schema.json")["$defs"].values():
            assert definition["required"]


def test_asyncapi_names_what_others_need_and_every_reference_leads_somewhere() -> None:
    document = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text(encoding="utf-8"))
    assert document["asyncapi"] == "3.0.0"
    internal = {"attribution", "-state-changelog"}
    assert set(document["channels"]) == set(topics("")) - internal
    assert {name.split(".", 1)[1]: operation["action"] for name, operation in document["operations"].items()} == {
        name: "receive" if name in INPUT_TOPICS else "send" for name in document["channels"]
    }
    references = list(walk(document))
    assert len(references) > 2 * len(EVENT_TYPES)
    for reference in references:
        if reference.startswith("./"):
            assert (FOLDER / reference).exists(), reference
        else:
            found = document
            for part in reference.removeprefix("#/").split("/"):
                found = found[part]


def walk(value: Any) -> list[str]:
    """Every $ref in a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for member in value.values() for found in walk(member)]
    if isinstance(value, list):
        return [found for member in value for found in walk(member)]
    return []


def member(schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"] if required else []}


TEXT = {"type": "string", "maxLength": 9}
MAYBE = {"anyOf": [TEXT, {"type": "null"}]}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (member(TEXT), {"type": "object", "properties": {}}, "a: removed"),
        (member(TEXT), member({"type": "integer"}), "a: may no longer be string"),
        (member(MAYBE), member(TEXT), "a: may no longer be null"),
        (member(TEXT), member(TEXT, required=True), "a: now required"),
        (member({"enum": ["x", "y"]}), member({"enum": ["x"]}), "a: no longer 'y'"),
        (member({"type": "string"}), member({"enum": ["x"]}), "a: no longer free"),
        (member(TEXT), member({"type": "string", "maxLength": 8}), "a: maxLength fell to 8"),
        (member({"type": "integer"}), member({"type": "integer", "minimum": 0}), "a: minimum rose to 0"),
        (member({"type": "string"}), member({"type": "string", "pattern": "^a"}), "a: another pattern"),
        (
            member({"type": "array", "items": TEXT}),
            member({"type": "array", "items": {"type": "number"}}),
            "a[]: may no longer be string",
        ),
        (
            {"type": "object", "properties": {"b": TEXT}},
            {"type": "object", "properties": {"b": TEXT, "a": TEXT}, "required": ["a"]},
            "a: new and required",
        ),
    ],
)
def test_a_break_is_named(before: dict[str, Any], after: dict[str, Any], said: str) -> None:
    assert breaks(before, after, output=False) == [said]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (member(TEXT), member(MAYBE)),
        (member(TEXT), member({"type": "string", "maxLength": 10})),
        (member({"enum": ["x"]}), member({"enum": ["x", "y"]})),
        (member({"type": "integer"}), member({"type": "number"})),
        (member(TEXT), {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": []}),
        (member(TEXT, required=True), member(TEXT)),
        (member(TEXT), {"$ref": "#/$defs/A", "$defs": {"A": member(TEXT)}}),
    ],
)
def test_growth_is_no_break(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert breaks(before, after, output=False) == []


def test_outputs_are_judged_by_who_reads_them() -> None:
    assert breaks(member(TEXT, required=True), member(TEXT), output=True) == ["a: no longer always there"]
    assert breaks(member(TEXT), member(TEXT, required=True), output=True) == []


def test_a_break_needs_a_new_version() -> None:
    before = generate.released()
    before["schemas"]["usage.logged_in"]["$defs"]["LoggedIn"]["properties"]["host"] = {"type": "string"}
    before["schemas"]["usage.gone"] = {}
    assert generate.broken_promises(before) == ["usage.logged_in: data.host: removed", "usage.gone: removed"]
    assert generate.broken_promises(before | {"version": CONTRACT_VERSION - 1}) == []
