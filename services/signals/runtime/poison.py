"""Records that make the engine fail: counted on disk over restarts, and put aside after three tries.

A bug or a record nobody thought of raises while it is applied; the worker crashes so that nothing is lost, comes back
and reads the same record again. After `TRIES` crashes the record becomes a dead letter with the reason `poison`.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TRIES: Final = 3


class PoisonLog:
    """How often each record made the engine fail, in one file that the workers of a machine share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._counts = self._read()

    def diverted(self, topic: str, partition: int) -> frozenset[int]:
        """Offsets of this topic-partition that are not to be tried again."""
        if not self._counts:
            return _NONE
        start = f"{topic}:{partition}:"
        return frozenset(
            int(place.removeprefix(start))
            for place, count in self._counts.items()
            if count >= TRIES and place.startswith(start)
        )

    def failed(self, topic: str, partition: int, offset: int) -> int:
        """Count one failure, durably. Returns how many there were."""
        place = f"{topic}:{partition}:{offset}"
        with self._locked():
            counts = self._read()
            counts[place] = counts.get(place, 0) + 1
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(counts))
            part.replace(self._path)
        self._counts = counts
        return counts[place]

    def reload(self) -> None:
        """Take up what other workers of this machine have counted."""
        self._counts = self._read()

    def _read(self) -> dict[str, int]:
        try:
            counts = json.loads(self._path.read_text())
            return {str(place): int(count) for place, count in counts.items()}
        except (FileNotFoundError, ValueError, AttributeError, TypeError):
            return {}  # a damaged count costs three more tries, not a start

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


_NONE: Final[frozenset[int]] = frozenset()
