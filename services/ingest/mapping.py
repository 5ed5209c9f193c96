"""Which event each call of the tracking API becomes: the YAML mapping, checked whole and compiled to lookups.

The default is `mapping.yaml` beside this file, which documents the format.
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from msgspec import inspect

from schemas.envelope import EventType
from schemas.events import EVENT_TYPES
from schemas.events.control import TICK_TYPE

DEFAULT_FILE: Final = Path(__file__).with_name("mapping.yaml")
PLAIN_ROOTS: Final = frozenset(
    {"event", "name", "category", "channel", "userId", "anonymousId", "groupId", "user", "type", "messageId"}
)
OBJECT_ROOTS: Final = frozenset({"properties", "traits", "context"})
# A browser's write key is public: who reads it off a page must not be able to delete an account with it.
NOT_BY_NAME: Final = frozenset({TICK_TYPE, "account.erased"})
FEATURE_FLAGS: Final = frozenset({"core", "advanced"})

Path_ = tuple[str, ...]


class MappingError(ValueError):
    """The mapping is refused. The message has one line for each mistake, each with its path."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the value of one member of `data` comes from: the first of `paths` that has one, or else `const`."""

    member: str
    paths: tuple[Path_, ...]
    const: Any
    as_text: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule: the type made, its sources, and the path that must have a value (empty: none must)."""

    type: EventType
    sources: tuple[Source, ...]
    when: Path_


@dataclass(frozen=True, slots=True)
class Mapping:
    """The whole compiled mapping. A rule that is None makes no event."""

    account: tuple[Path_, ...]
    by_name: dict[str, Rule | None]
    otherwise: Rule | None
    calls: dict[str, Rule | None]
    features: dict[str, dict[str, bool]]

    def track(self, name: str) -> Rule | None:
        """The rule of a track call with this event name."""
        rule = self.by_name.get(name, self.otherwise)
        return rule if rule is not self.otherwise else self.by_name.get(name.casefold(), rule)


def load(own: Path | None = None) -> Mapping:
    """The default mapping with the file `own` laid over it. Raises MappingError naming every mistake."""
    merged = _read(DEFAULT_FILE)
    if own is not None:
        merged = _lay_over(merged, _read(own))
    return compile_mapping(merged)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MappingError(f"{path}: cannot be read ({error.strerror}); correct EBBTIDE_INGEST_MAPPING_FILE") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: not YAML: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MappingError(f"{path}: a YAML mapping with keys such as `track` and `group` is expected")
    return found


def _lay_over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = {**base, **own}
    track = own.get("track", {})
    if isinstance(track, dict):
        events = track.get("events", {})
        merged["track"] = {**base["track"], **track}
        if isinstance(events, dict):
            replaced = {str(name).casefold() for name in events}
            kept = {name: rule for name, rule in base["track"]["events"].items() if name.casefold() not in replaced}
            merged["track"]["events"] = kept | events
    return merged


def compile_mapping(raw: Dict[str, Any]) -> Mapping:
    """Check and compile a mapping as read from YAML. Raises MappingError naming every mistake with its path."""
    compiler = _Compiler()
    mapping = compiler.mapping(raw)
    if compiler.mistakes:
        raise MappingError("\n".join(compiler.mistakes))
    return mapping


class _Compiler:
    """Compiles and gathers mistakes, so that all are told at once."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def mapping(self, raw: Dict[str, Any]) -> Mapping:
        known = {"account", "track", "page", "screen", "identify", "group", "features"}
        self._only(raw, known, "")
        track = self._object(raw.get("track"), "track")
        self._only(track, {"events", "default"}, "track")
        events = self._object(track.get("events"), "track.events")
        by_name: dict[str, Rule | None] = {}
        for name, kind in EVENT_TYPES.items():
            if not kind.broadcast and name not in NOT_BY_NAME:
                by_name[name] = self._rule({"type": name, "take": "properties"}, name)
        for name, rule in events.items():
            by_name[str(name).casefold()] = self._rule(rule, f"track.events.{name}")
        return Mapping(
            account=self._paths(raw.get("account", []), "account"),
            by_name=by_name,
            otherwise=self._rule(track.get("default"), "track.default"),
            calls={call: self._rule(raw.get(call), call) for call in ("page", "screen", "identify", "group")},
            features=self._features(raw.get("features")),
        )

    def _say(self, path: str, problem: str) -> None:
        self.mistakes.append(f"{path}: {problem}" if path else problem)

    def _only(self, raw: Dict[str, Any], known: set[str], path: str) -> None:
        for name in raw:
            if name not in known:
                self._say(f"{path}.{name}".lstrip("."), f"unknown; known here are {', '.join(sorted(known))}")

    def _object(self, raw: Any, path: str) -> dict[str, Any]:
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            self._say(path, "a mapping is expected")
            return {}
        return raw

    def _rule(self, raw: Any, path: str) -> Rule | None:
        if raw is None:
            return None
        if not isinstance(raw, dict):
            self._say(path, "a rule is a mapping with `type`, or null")
            return None
        self._only(raw, {"type", "take", "data", "when"}, path)
        name = raw.get("type")
        kind = EVENT_TYPES.get(name) if isinstance(name, str) else None
        if kind is None or kind.broadcast or kind.name == TICK_TYPE:
            self._say(f"{path}.type", f"{name!r} is no event type of an account; take one such as usage.feature_used")
            return None
        return Rule(kind, self._sources(raw, kind, path), self._when(raw.get("when"), f"{path}.when"))

    def _when(self, raw: Any, path: str) -> Path_:
        found = self._paths(raw if raw is not None else [], path)
        if len(found) > 1:
            self._say(path, "one path is expected")
        return found[0] if found else ()

    def _sources(self, raw: dict[str, Any], kind: EventType, path: str) -> tuple[Source, ...]:
        members = {member.encode_name: member for member in msgspec.structs.fields(kind.data)}
        wanted: dict[str, Any] = {}
        take = raw.get("take")
        if take is not None:
            if take not in ("properties", "traits"):
                self._say(f"{path}.take", "`properties` or `traits` is expected")
            else:
                wanted = {name: f"{take}.{name}" for name in members}
        if "user" in members:
            wanted["user"] = ["properties.user", "user"] if take == "properties" else "user"
        wanted |= self._object(raw.get("data"), f"{path}.data")
        sources = []
        for name, where in wanted.items():
            if name not in members:
                self._say(
                    f"{path}.data.{name}", f"{kind.name} has no such member; it has {', '.join(members) or 'none'}"
                )
                continue
            as_text = _wants_text(members[name].type)
            if isinstance(where, dict):
                if set(where) != {"const"}:
                    self._say(f"{path}.data.{name}", "a path, a list of paths or {const: value} is expected")
                    continue
                sources.append(Source(name, (), where["const"], as_text))
            else:
                sources.append(Source(name, self._paths(where, f"{path}.data.{name}"), None, as_text))
        for name, member in members.items():
            if member.required and name not in wanted:
                self._say(f"{path}.data", f"{kind.name} needs {name}; say where it is found")
        return tuple(sources)

    def _paths(self, raw: Any, path: str) -> tuple[Path_, ...]:
        texts = raw if isinstance(raw, list) else [raw]
        found = []
        for text in texts:
            parts = tuple(text.split(".")) if isinstance(text, str) else ()
            plain = len(parts) == 1 and parts[0] in PLAIN_ROOTS
            nested = len(parts) > 1 and parts[0] in OBJECT_ROOTS and all(parts)
            if plain or nested:
                found.append(parts)
            else:
                roots = ", ".join(sorted(PLAIN_ROOTS)) + ", properties.…, traits.…, context.…"
                self._say(path, f"{text!r} is no path; paths begin with {roots}")
        return tuple(found)

    def _features(self, raw: Any) -> dict[str, dict[str, bool]]:
        features: dict[str, dict[str, bool]] = {}
        for name, flags in self._object(raw, "features").items():
            path = f"features.{name}"
            if not isinstance(flags, dict) or not set(flags) <= FEATURE_FLAGS:
                self._say(path, "{core: true}, {advanced: true} or both are expected")
            elif not all(isinstance(flag, bool) for flag in flags.values()):
                self._say(path, "true or false is expected")
            else:
                features[str(name)] = dict(flags)
        return features


def _wants_text(annotation: Any) -> bool:
    """Text is accepted and a number is not: then a number is written as text."""
    kind = inspect.type_info(annotation)
    kinds = [_bare(each) for each in (kind.types if isinstance(kind, inspect.UnionType) else (kind,))]
    text = any(isinstance(each, inspect.StrType) for each in kinds)
    return text and not any(isinstance(each, inspect.IntType | inspect.FloatType) for each in kinds)


def _bare(kind: inspect.Type) -> inspect.Type:
    """A type without the description around it."""
    return kind.type if isinstance(kind, inspect.Metadata) else kind
