"""Whatever stands in the operators' file, the answer is a catalogue or a list of mistakes with paths."""

from __future__ import annotations

import datetime as dt
import random
from copy import deepcopy
from typing import Any

import pytest

from services.signals.catalogue import load
from services.signals.operators import CatalogueFileError, Mistake
from services.signals.operators.file import understand
from tests.operators_files import random_file
from tests.unit.test_operators_file import example

BUILT_IN = load()
JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    float("inf"),
    float("nan"),
    "",
    "export",
    "{value}",
    "x" * 2000,
    "\0",
    [],
    [[]],
    {},
    {"default": 1},
    {1: 2},
    {None: None},
    dt.date(2026, 1, 1),
    b"bytes",
    {"any_of": [{"any_of": []}]},
]


def places(part: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of plain data."""
    inside = list(part.items()) if isinstance(part, dict) else list(enumerate(part)) if isinstance(part, list) else []
    return [(part, key) for key, _ in inside] + [place for _, value in inside for place in places(value)]


def mistakes(raw: Any) -> tuple[Mistake, ...]:
    """What is wrong with a file; nothing where it makes a catalogue."""
    try:
        understand(raw, BUILT_IN.by_id).over(BUILT_IN)
    except CatalogueFileError as error:
        return error.mistakes
    return ()


@pytest.mark.parametrize("seed", range(10))
def test_no_file_is_answered_with_a_crash(seed: int) -> None:
    rng = random.Random(seed)
    refused = 0
    for _ in range(60):
        raw = deepcopy(rng.choice([example(), random_file(rng)]))
        for _ in range(rng.randint(1, 3)):
            container, key = rng.choice(places(raw))
            match rng.randrange(4):
                case 0 if isinstance(container, dict):
                    container[rng.choice(["days", "x", 7, True, "default"])] = rng.choice(JUNK)
                case 1:
                    del container[key]
                case _:
                    container[key] = deepcopy(rng.choice(JUNK))
            if not places(raw):
                break
        found = mistakes(raw)
        refused += bool(found)
        assert all(mistake.path and mistake.why and mistake.fix for mistake in found)
        assert len(set(found)) == len(found), "nothing is told twice"
    assert refused > 20
