"""What the console has of others is what their registry has, byte for byte."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from services.api.console import vendor


def test_vendored_files_are_those_of_the_package(tmp_path: Path) -> None:
    for package in vendor.lock():
        files = vendor.bring(package, tmp_path)
        assert vendor.differing(package, files) == []
        assert files == {file.name: (vendor.FOLDER / file.name).read_bytes() for file in package.files}


def test_another_package_than_the_locked_one_is_refused(tmp_path: Path) -> None:
    (package,) = vendor.lock()
    with pytest.raises(ValueError, match="the lock has sha512-other"):
        vendor.bring(msgspec.structs.replace(package, integrity="sha512-other"), tmp_path)
