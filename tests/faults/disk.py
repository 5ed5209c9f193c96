"""A small disk that gets full, for real: a memory file system of a few MB, or a limit on how large files may grow."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

SIZE: Final = 24 * 1024 * 1024
LEFT: Final = 96 * 1024
"""What is left when it is full: enough to open the files, not to write on."""


class Disk(Protocol):
    """`prefix` goes before the command of a process that is to use `folder`."""

    folder: Path

    @property
    def prefix(self) -> list[str]: ...
    def fill(self) -> None: ...
    def free(self) -> None: ...


class SmallFileSystem:
    """A file system of `SIZE` bytes mounted at `folder`. For those who may mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @property
    def prefix(self) -> list[str]:
        """Nothing: the file system is small for everybody."""
        return []

    def fill(self) -> None:
        """Leave `LEFT` bytes, at once and under whoever is writing."""
        space = os.statvfs(self.folder)
        with self._ballast.open("wb") as out:
            os.posix_fallocate(out.fileno(), 0, max(1, space.f_bavail * space.f_frsize - LEFT))

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink()


class LimitedFiles:
    """A folder in which a process started while it is "full" can let no file grow beyond `LEFT` bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._full = False

    @property
    def prefix(self) -> list[str]:
        """A shell that sets the limit (blocks of 512 bytes) and becomes the process."""
        return ["sh", "-c", f'ulimit -f {LEFT // 512} && exec "$@"', "sh"] if self._full else []

    def fill(self) -> None:
        """From the next start on."""
        self._full = True

    def free(self) -> None:
        """From the next start on."""
        self._full = False


def may_mount(folder: Path) -> bool:
    """Whether this process may mount a file system."""
    try:
        with mounted(folder):
            return True
    except subprocess.CalledProcessError:
        return False


@contextmanager
def mounted(folder: Path) -> Iterator[SmallFileSystem]:
    """A small file system at `folder`, gone afterwards. Raises CalledProcessError where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield SmallFileSystem(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)
