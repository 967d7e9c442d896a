"""A file system of a few mebibytes, to be filled up and freed."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.postgres import SERVER_USER
from tests.support.processes import server_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class SmallDisk:
    """A mounted file system.

    Attributes:
        folder: where files may be put; it belongs to the servers' user.
    """

    def __init__(self, root: Path) -> None:
        self._ballast = root / "ballast"
        self.folder = root / "files"
        self.folder.mkdir()
        if SERVER_USER:
            shutil.chown(self.folder, SERVER_USER)

    def fill(self) -> None:
        """Leave no room at all."""
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 10, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


@contextlib.contextmanager
def small_disk(mebibytes: int) -> Iterator[SmallDisk]:
    """Mount one in memory; a test is skipped where nobody may mount anything."""
    with server_folder("saga-disk-") as root:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(root)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"a full disk needs the right to mount: {done.stderr.strip()}")
        try:
            root.chmod(0o755)
            yield SmallDisk(root)
        finally:
            subprocess.run(["umount", "--lazy", str(root)], check=True)
