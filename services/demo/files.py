"""Generated events and labels as files, each written whole or not at all, with the same bytes for the same content."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Iterable
from pathlib import Path

from services.demo.portfolio import Label

GZIP_LEVEL = 6


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader or a crash never sees half of it. Raises OSError."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def ndjson(lines: Iterable[bytes]) -> bytes:
    """Lines of JSON with their line ends."""
    return b"".join(line + b"\n" for line in lines)


def write_events(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines of JSON, gzipped where the name ends in `.gz`. No time of writing goes into the file."""
    content = ndjson(lines)
    write_whole(path, gzip.compress(content, GZIP_LEVEL, mtime=0) if path.suffix == ".gz" else content)


def write_labels(path: Path, labels: Iterable[Label]) -> None:
    """Write the labels as CSV; a date that does not apply is empty."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(Label._fields)
    rows.writerows(labels)
    write_whole(path, text.getvalue().encode())
