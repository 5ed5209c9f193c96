"""`python -m schemas.generate`: the contract as JSON Schema and AsyncAPI, from the types, the topic files and the examples.

`--check` writes nothing and fails when a committed file differs, or when a schema breaks the released one without a new
contract version. `--release` makes today's schemas the released ones.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import msgspec
import yaml
from msgspec import Struct, UnsetType

from schemas import dead_letters, health, signals, webhooks
from schemas.compatibility import CONTRACT_VERSION, Schema, breaks
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.topics.registry import Topic, topics

FOLDER: Final = Path(__file__).parent / "generated"
EXAMPLES: Final = Path(__file__).parent / "examples"
RELEASED: Final = "released.json"
CATALOGUE: Final = "catalogue.json"  # `ebbtide catalogue check --write` writes it, and its own law holds it
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
OUTPUTS: Final[dict[str, type[Struct]]] = {
    **dict.fromkeys(("signal.raised", "signal.escalated", "signal.cleared"), signals.Transition),
    health.HEALTH_TOPIC: health.Health,
    dead_letters.DEAD_LETTER_TOPIC: dead_letters.Headers,
}
"""What the service writes, by the name of its schema. Of a dead letter it is the headers: the value is anything."""
OVER_HTTP: Final[dict[str, type[Struct]]] = {"webhook-message": webhooks.Message}
"""What is sent to others without Kafka, by the name of its schema."""
_ALWAYS_WITH: Final = {"signal.escalated": ["previous_severity"], "signal.cleared": ["cleared_at", "cleared_because"]}
_OTHERS_NEED: Final = (*INPUT_TOPICS, signals.RISK_TOPIC, signals.OPPORTUNITY_TOPIC, "health", "dead-letters")


def json_schemas() -> dict[str, Schema]:
    """JSON Schema by name: one for each event type and each output."""
    made = {name: _finished(name, msgspec.json.schema(kind.event)) for name, kind in EVENT_TYPES.items()}
    for name, struct in OUTPUTS.items():
        schema = _finished(name, msgspec.json.schema(struct))
        for definition in _structs(struct):
            schema["$defs"][definition.__name__]["required"] = _always_written(definition)
        if struct is signals.Transition:
            schema["$defs"]["Transition"]["properties"]["type"] = {"enum": [name]}
            schema["$defs"]["TransitionData"]["required"] += _ALWAYS_WITH.get(name, [])
        made[name] = schema
    for name, struct in OVER_HTTP.items():
        made[name] = _finished(name, msgspec.json.schema(struct))
    return made


def files() -> dict[str, str]:
    """Every generated file but the released snapshot: name and text."""
    made = {f"{name}.schema.json": _json(schema) for name, schema in json_schemas().items()}
    made["asyncapi.yaml"] = yaml.dump(asyncapi(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return made


def asyncapi() -> dict[str, Any]:
    """The topics that others write to or read, as an AsyncAPI 3.0 document."""
    described = {name: topic for name, topic in topics("").items() if name in _OTHERS_NEED}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Ebbtide",
            "version": f"{CONTRACT_VERSION}.0.0",
            "description": "Events that Ebbtide takes from Kafka topics, and what it says on others. Every value but a dead "
            "letter's is JSON; keys are the account id, with Kafka's default (murmur2) partitioner.",
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:29092", "protocol": "kafka", "description": "the local stack"}},
        "channels": {name: _channel(topic) for name, topic in described.items()},
        "operations": {
            f"{'receive' if name in INPUT_TOPICS else 'send'}.{name}": {
                "action": "receive" if name in INPUT_TOPICS else "send",
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": topic.summary,
            }
            for name, topic in described.items()
        },
        "components": {"messages": {name: _message(name) for name in (*EVENT_TYPES, *OUTPUTS)}},
    }


def released() -> dict[str, Any]:
    """The released contract: `version`, and `schemas` by name."""
    snapshot: dict[str, Any] = json.loads((FOLDER / RELEASED).read_text(encoding="utf-8"))
    return snapshot


def broken_promises(before: dict[str, Any]) -> list[str]:
    """What today's schemas break of the released ones; nothing when the contract version has risen since."""
    if before["version"] < CONTRACT_VERSION:
        return []
    found, now = [], json_schemas()
    for name, schema in before["schemas"].items():
        if name not in now:
            found.append(f"{name}: removed")
        else:
            found += [f"{name}: {broken}" for broken in breaks(schema, now[name], output=name in OUTPUTS)]
    return found


def _finished(name: str, schema: Schema) -> Schema:
    for definition in schema["$defs"].values():
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    return {"$schema": DIALECT, "title": name, **schema}


def _structs(struct: type[Struct]) -> Iterator[type[Struct]]:
    """A struct and those that its members are made of."""
    yield struct
    for hint in get_type_hints(struct).values():
        for part in _parts(hint):
            if isinstance(part, type) and issubclass(part, Struct):
                yield from _structs(part)


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint):
        yield from _parts(part)


def _always_written(struct: type[Struct]) -> list[str]:
    hints = get_type_hints(struct)
    return [name for name in struct.__struct_encode_fields__ if UnsetType not in get_args(hints[name])]


def _channel(topic: Topic) -> dict[str, Any]:
    names = topic.types or [topic.name]
    configs: dict[str, Any] = {name: value for name, value in topic.configs.items() if name in _BINDING_CONFIGS}
    configs["cleanup.policy"] = str(configs["cleanup.policy"]).split(",")
    return {
        "address": topic.name,
        "description": f"{topic.summary}\n\nKey: {topic.key}\n\nValue: {topic.value}",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": configs, "bindingVersion": "0.5.0"}},
    }


_BINDING_CONFIGS: Final = frozenset(
    {"cleanup.policy", "retention.ms", "retention.bytes", "delete.retention.ms", "max.message.bytes"}
)


def _message(name: str) -> dict[str, Any]:
    schema = {
        "schemaFormat": "application/schema+json;version=draft-2020-12",
        "schema": {"$ref": f"./{name}.schema.json"},
    }
    examples = [
        {"name": path.stem, "payload": json.loads(path.read_text(encoding="utf-8"))}
        for path in sorted((EXAMPLES / name).glob("*.json"))
    ]
    if name == dead_letters.DEAD_LETTER_TOPIC:
        return {
            "name": name,
            "title": "A refused record",
            "summary": "The refused record's key and value, untouched, with the reason in the headers.",
            "contentType": "application/octet-stream",
            "headers": schema,
        }
    struct = EVENT_TYPES[name].data if name in EVENT_TYPES else OUTPUTS[name]
    broadcast = name in EVENT_TYPES and EVENT_TYPES[name].broadcast
    key = {"type": "null"} if broadcast else {"type": "string", "description": "account id"}
    return {
        "name": name,
        "title": name,
        "summary": inspect.cleandoc(struct.__doc__ or ""),
        "contentType": "application/json",
        "payload": schema,
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
        "examples": examples,
    }


class _Dumper(yaml.SafeDumper):
    """Writes everything out: an alias hides what a reader looks for."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _drift(made: dict[str, str]) -> list[str]:
    there = {path.name for path in FOLDER.iterdir()} - {RELEASED, CATALOGUE}
    differ = [name for name, text in made.items() if name in there and (FOLDER / name).read_text("utf-8") != text]
    return sorted([*differ, *(there ^ made.keys())])


def main() -> int:
    """Write the files, or with `--check` compare them. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on drift or a broken promise")
    parser.add_argument("--release", action="store_true", help="make today's schemas the released ones")
    options = parser.parse_args()
    made = files()
    if options.check:
        problems = [f"{name} is not as generated; run `python -m schemas.generate`" for name in _drift(made)]
        problems += broken_promises(released())
    else:
        FOLDER.mkdir(exist_ok=True)
        for path in FOLDER.iterdir():
            if path.name not in made and path.name not in (RELEASED, CATALOGUE):
                path.unlink()
        for name, text in made.items():
            (FOLDER / name).write_text(text, encoding="utf-8")
        problems = broken_promises(released()) if (FOLDER / RELEASED).exists() else []
        if options.release and not problems:
            (FOLDER / RELEASED).write_text(_json({"version": CONTRACT_VERSION, "schemas": json_schemas()}), "utf-8")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
