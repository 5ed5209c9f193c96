"""What in `static/vendor` is not ours, and how it is brought: `python -m services.api.console.vendor`.

The lock names the package, its version and its registry's checksum, and of each file the path in the package and the
digest of its bytes. The files are taken as they are. npm checks the package against the checksum before it is unpacked.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

FOLDER: Final = Path(__file__).parent / "static" / "vendor"
LOCK: Final = FOLDER / "lock.json"


class File(Struct, forbid_unknown_fields=True):
    """One file: its name here, its path in the package, and the SHA-256 of its bytes in hex."""

    name: str
    path: str
    sha256: str


class Package(Struct, forbid_unknown_fields=True):
    """One package. `integrity` is npm's checksum of the whole, `licence_text` the name of its licence's file here."""

    package: str
    version: str
    integrity: str
    licence: str
    licence_text: str
    files: list[File]


def lock() -> list[Package]:
    """What is locked."""
    return msgspec.json.decode(LOCK.read_bytes(), type=list[Package])


def bring(package: Package, folder: Path) -> dict[str, bytes]:
    """The locked files of a package by their names here, fetched by npm into `folder`.

    Raises ValueError where the package is not the one that was locked, CalledProcessError where npm cannot fetch it.
    """
    asked = f"{package.package}@{package.version}"
    command = ["npm", "pack", asked, "--json", "--silent", "--pack-destination", str(folder)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)[0]
    if told["integrity"] != package.integrity:
        raise ValueError(f"{asked}: npm gives {told['integrity']}, the lock has {package.integrity}")
    with tarfile.open(fileobj=io.BytesIO((folder / Path(told["filename"]).name).read_bytes()), mode="r:gz") as archive:
        found = {file.name: archive.extractfile(f"package/{file.path}") for file in package.files}
        return {name: member.read() for name, member in found.items() if member is not None}


def differing(package: Package, files: dict[str, bytes]) -> list[str]:
    """Names of files that are missing or whose bytes are not those that were locked."""
    return [
        file.name
        for file in package.files
        if file.name not in files or hashlib.sha256(files[file.name]).hexdigest() != file.sha256
    ]


def main() -> None:
    """Fetch every locked file anew. Exits with code 1 and one line where something is not what was locked."""
    for package in lock():
        with tempfile.TemporaryDirectory() as folder:
            try:
                files = bring(package, Path(folder))
            except (ValueError, OSError, subprocess.CalledProcessError) as error:
                raise SystemExit(f"{package.package}: {error}") from None
        wrong = differing(package, files)
        if wrong:
            raise SystemExit(
                f"{package.package}: not what was locked: {', '.join(wrong)}; review, then change {LOCK.name}"
            )
        for name, content in files.items():
            (FOLDER / name).write_bytes(content)
            sys.stdout.write(f"{package.package} {package.version}: {name}, {len(content)} bytes\n")


if __name__ == "__main__":
    main()
