"""What a change of a JSON Schema breaks for those who write or read by the one before.

Compares what the generator makes: objects, arrays, unions, enumerations, bounds and patterns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

Schema = dict[str, Any]

CONTRACT_VERSION: Final = 1
"""Rises with a change that breaks; then the released snapshot may be replaced."""

_LOWER_BOUNDS: Final = ("minimum", "minLength", "minItems", "exclusiveMinimum")
_UPPER_BOUNDS: Final = ("maximum", "maxLength", "maxItems", "exclusiveMaximum")


def breaks(before: Schema, after: Schema, *, output: bool) -> list[str]:
    """Every break between two versions of one schema, as sentences that begin with the path of the member.

    In what others send, a member that becomes required is a break; in an `output`, one that is no longer always there.
    """
    harmless = ("no longer always there",) if not output else ("now required", "new and required")
    return sorted({found for found in _compare(before, after, "", before, after) if not found.endswith(harmless)})


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    return _resolved(root["$defs"][reference.removeprefix("#/$defs/")], root) if reference else schema


def _branches(schema: Schema, root: Schema) -> dict[str, Schema]:
    """The alternatives of a schema by JSON type (an enumeration by the type of its values); `any` without one."""
    found: dict[str, Schema] = {}
    for alternative in schema.get("anyOf", [schema]):
        branch = _resolved(alternative, root)
        if "anyOf" in branch:
            found |= _branches(branch, root)
            continue
        kind = branch.get("type") or ("string" if "enum" in branch else "any")
        found[kind] = branch
    return found


def _compare(before: Schema, after: Schema, path: str, root: Schema, new_root: Schema) -> Iterator[str]:
    old, new = _branches(_resolved(before, root), root), _branches(_resolved(after, new_root), new_root)
    where = path or "the whole"
    for kind, branch in old.items():
        # An integer is a number too.
        twin = new.get(kind) or new.get("any") or (new.get("number") if kind == "integer" else None)
        if twin is None:
            yield f"{where}: may no longer be {kind}"
        else:
            yield from _narrowed(branch, twin, path, root, new_root)


def _narrowed(before: Schema, after: Schema, path: str, root: Schema, new_root: Schema) -> Iterator[str]:
    where = path or "the whole"
    if "enum" in after:
        gone = [value for value in before.get("enum", []) if value not in after["enum"]]
        if gone or "enum" not in before:
            yield f"{where}: no longer {', '.join(map(repr, gone)) or 'free'}"
    for bound in _LOWER_BOUNDS:
        if bound in after and (bound not in before or after[bound] > before[bound]):
            yield f"{where}: {bound} rose to {after[bound]}"
    for bound in _UPPER_BOUNDS:
        if bound in after and (bound not in before or after[bound] < before[bound]):
            yield f"{where}: {bound} fell to {after[bound]}"
    for rule in ("pattern", "format"):
        if rule in after and after[rule] != before.get(rule):
            yield f"{where}: another {rule}"
    if isinstance(before.get("items"), dict) and isinstance(after.get("items"), dict):
        yield from _compare(before["items"], after["items"], f"{path}[]", root, new_root)
    if isinstance(before.get("additionalProperties"), dict) and isinstance(after.get("additionalProperties"), dict):
        yield from _compare(
            before["additionalProperties"], after["additionalProperties"], f"{path}{{}}", root, new_root
        )
    yield from _members(before, after, path, root, new_root)


def _members(before: Schema, after: Schema, path: str, root: Schema, new_root: Schema) -> Iterator[str]:
    old, new = before.get("properties", {}), after.get("properties", {})
    needed, needed_now = set(before.get("required", [])), set(after.get("required", []))
    for name, member in old.items():
        at = f"{path}.{name}" if path else name
        if name not in new:
            yield f"{at}: removed"
            continue
        if name in needed_now - needed:
            yield f"{at}: now required"
        if name in needed - needed_now:
            yield f"{at}: no longer always there"
        yield from _compare(member, new[name], at, root, new_root)
    for name in new.keys() - old.keys():
        if name in needed_now and old:
            yield f"{f'{path}.{name}' if path else name}: new and required"
