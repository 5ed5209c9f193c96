"""Reading the operators' file: YAML into nodes that know their path, and every mistake gathered so that all are told at once.

A question that a node cannot answer notes a mistake and gives None (or nothing to go through): whoever asks goes on with
the rest of the file.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

MAX_TEXT: Final = 1000
MAX_BYTES: Final = 1_000_000
TIERS: Final = ("high", "low", "tech")
DEFAULT: Final = "default"


@dataclass(frozen=True)
class Mistake:
    """One thing wrong with the file: where, why it cannot be used, and what to do."""

    path: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}. {self.fix}"


class CatalogueFileError(ValueError):
    """The file is refused. `mistakes` are all of them; the message has a line for each."""

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(f"{file}: {mistake}" for mistake in mistakes))
        self.mistakes = tuple(mistakes)


class _Loader(yaml.SafeLoader):
    """Plain data only; a key that is there twice is a mistake, not the later one's silent victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                continue
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice, again in line {line}")
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse(text: str) -> Any:
    """The file's content as plain data. Raises CatalogueFileError where it is no YAML."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else "the file"
        why = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise CatalogueFileError("catalogue file", [Mistake(where, str(why), "Correct the YAML there.")]) from None
    except RecursionError:
        raise CatalogueFileError(
            "catalogue file", [Mistake("the file", "it is nested too deeply", "Write it flat, without `&` and `*`.")]
        ) from None


def text_of(file: Path) -> str:
    """The file's text. Raises CatalogueFileError where it cannot be read."""
    try:
        raw = file.read_bytes()
        if len(raw) > MAX_BYTES:
            raise CatalogueFileError(
                str(file), [Mistake("the file", f"it has {len(raw)} bytes", f"At most {MAX_BYTES} are read.")]
            )
        return raw.decode()
    except OSError as error:
        raise CatalogueFileError(
            str(file), [Mistake("the file", error.strerror or "unreadable", "Correct the path.")]
        ) from None
    except UnicodeDecodeError:
        raise CatalogueFileError(str(file), [Mistake("the file", "it is not UTF-8", "Save it as UTF-8.")]) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """What to do about an unknown name: the nearest known one, and what is known."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1, 0.5)
    listed = f"Known here: {', '.join(names)}." if names else "Nothing is known here: remove it."
    return f"Did you mean {near[0]}? {listed}" if near else listed


def shown(value: Any) -> str:
    """A value of the file as the file would have it, cut short."""
    if value is None:
        return "nothing"
    text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else repr(value)
    return text if text is not None and len(text) <= 60 else f"{text!s:.57}..."


class Node:
    """A value of the file, its path, and the list that takes its mistakes."""

    __slots__ = ("mistakes", "path", "value")

    def __init__(self, value: Any, path: str, mistakes: list[Mistake]) -> None:
        self.value = value
        self.path = path
        self.mistakes = mistakes

    def say(self, why: str, fix: str, at: str = "") -> None:
        """Note a mistake of this value, or of what is at `at` under it."""
        path = f"{self.path}{at}" if at.startswith("[") or not self.path else f"{self.path}.{at}" if at else self.path
        self.mistakes.append(Mistake(path or "the file", why, fix))

    def under(self, name: str, value: Any) -> Node:
        """A member of this value."""
        return Node(value, f"{self.path}.{name}" if self.path else name, self.mistakes)

    # -- containers -----------------------------------------------------------------------------------------------

    def named(self, what: str) -> dict[str, Node]:
        """The members of a mapping from names to something; `what` says what its names are."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            self.say(f"{shown(self.value)} is no mapping", f"Give {what}, one a line, as `name: …`.")
            return {}
        found = {}
        for name, value in self.value.items():
            if isinstance(name, str):
                found[name] = self.under(name, value)
            else:
                self.say(f"the name {shown(name)} is not text", "Put it in quotes.", at=str(name))
        return found

    def members(self, known: Sequence[str], needed: Sequence[str] = ()) -> dict[str, Node]:
        """The members of a mapping with fixed names. Unknown ones and missing `needed` ones are mistakes."""
        if not isinstance(self.value, dict):
            self.say(f"{shown(self.value)} is no mapping", f"Give {', '.join(needed or known)}.")
            return {}
        found = self.named("members")
        for name in list(found):
            if name not in known:
                found.pop(name).say("it is unknown", nearest(name, known))
        for name in needed:
            if name not in found:
                self.say("it is missing", f"It is needed here; known are {', '.join(known)}.", at=name)
        return found

    def items(self, most: int, what: str) -> list[Node]:
        """The items of a list of one to `most`."""
        if not isinstance(self.value, list) or not self.value:
            self.say(f"{shown(self.value)} is no list with something in it", f"Give a list of {what}.")
            return []
        if len(self.value) > most:
            self.say(f"it has {len(self.value)} items", f"At most {most} are allowed.")
            return []
        return [Node(value, f"{self.path}[{n}]", self.mistakes) for n, value in enumerate(self.value)]

    # -- values ---------------------------------------------------------------------------------------------------

    def text(self, most: int = MAX_TEXT) -> str | None:
        """A text of one character or more."""
        if not isinstance(self.value, str) or not self.value.strip():
            self.say(f"{shown(self.value)} is not text", "Give text; in quotes where YAML would read something else.")
            return None
        if len(self.value) > most:
            self.say(f"it has {len(self.value)} characters", f"At most {most} are allowed.")
            return None
        return self.value.strip()

    def flag(self) -> bool | None:
        """True or false."""
        if isinstance(self.value, bool):
            return self.value
        self.say(f"{shown(self.value)} is neither true nor false", "Give true or false.")
        return None

    def whole(self, least: int, most: int) -> int | None:
        """A whole number within limits."""
        if isinstance(self.value, int) and not isinstance(self.value, bool) and least <= self.value <= most:
            return self.value
        self.say(f"{shown(self.value)} cannot be used", f"Give a whole number from {least} to {most}.")
        return None

    def number(self, least: float, most: float) -> float | int | None:
        """A number within limits."""
        value = self.value
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            if least <= value <= most:
                return int(value) if float(value).is_integer() else value
            self.say(f"{shown(value)} is out of range", f"Give a number from {least:g} to {most:g}.")
        else:
            self.say(f"{shown(value)} is no number", f"Give a number from {least:g} to {most:g}.")
        return None

    def choice[T: str](self, known: Sequence[T]) -> T | None:
        """One of a few words."""
        for word in known:
            if word == self.value:
                return word
        self.say(f"{shown(self.value)} is unknown", nearest(str(self.value), known))
        return None

    def per_tier[T](self, ask: Callable[[Node], T | None]) -> dict[str, T] | None:
        """One value for all tiers, or a mapping with `default` and tiers that differ: the value of each tier."""
        if not isinstance(self.value, dict):
            one = ask(self)
            return None if one is None else dict.fromkeys(TIERS, one)
        if not self.value:
            self.say("it is empty", f"Give a value, or one for {DEFAULT}, {', '.join(TIERS)}.")
        parts = self.members((DEFAULT, *TIERS))
        answers = {name: ask(node) for name, node in parts.items()}
        if not parts or any(answer is None for answer in answers.values()):
            return None
        missing = [tier for tier in TIERS if tier not in answers]
        if missing and DEFAULT not in answers:
            self.say(f"nothing is said for {' and '.join(missing)}", "Add them, or `default`.")
            return None
        return {tier: answer for tier in TIERS if (answer := answers.get(tier, answers.get(DEFAULT))) is not None}


NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


def names(nodes: dict[str, Node]) -> Iterator[tuple[str, Node]]:
    """Members whose names are names: others are mistakes."""
    for name, node in nodes.items():
        if NAME.fullmatch(name):
            yield name, node
        else:
            node.say("it is no name", "Use up to 32 small letters, digits and _, beginning with a letter.")
