"""A folder of its own for each worker process on a machine, the same one again after a restart."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

MOST: Final = 64


class NoSlot(Exception):
    """All folders are in use."""


@dataclass(slots=True)
class Slot:
    """A folder and the lock that keeps it; given back when the process ends, however it ends."""

    folder: Path
    _lock: IO[str]

    def release(self) -> None:
        """Give the folder back."""
        self._lock.close()


def claim(parent: Path) -> Slot:
    """The first folder 0, 1, … in `parent` that no live process has. Raises NoSlot, OSError."""
    for number in range(MOST):
        folder = parent / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return Slot(folder, lock)
    raise NoSlot(f"{MOST} engine workers use {parent} already; set EBBTIDE_DATA_DIR to another folder for this one")
