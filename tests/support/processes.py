"""Server processes that cannot outlive the tests.

A server is stopped by its fixture. When the tests themselves are killed no
fixture runs; then the *reaper*, a small process that reads our pipe, sees its
end and kills what is left, servers and folders.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PGREP = shutil.which("pgrep") or "/usr/bin/pgrep"

_REAPER = """
import contextlib, os, shutil, signal, sys
groups, folders = set(), set()
for line in sys.stdin:
    verb, what = line.rstrip().split(" ", 1)
    kept = groups if verb.endswith("group") else folders
    (kept.add if verb.startswith("+") else kept.discard)(what)
for group in groups:
    with contextlib.suppress(OSError):
        os.killpg(int(group), signal.SIGKILL)
for folder in folders:
    shutil.rmtree(folder, ignore_errors=True)
"""


@functools.cache
def _reaper() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _REAPER],
        stdin=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,  # a Ctrl-C at the tests must not end it
    )


def _tell_reaper(line: str) -> None:
    stdin = _reaper().stdin
    assert stdin is not None
    stdin.write(f"{line}\n")


@contextlib.contextmanager
def server_folder(prefix: str) -> Iterator[Path]:
    """Give a folder under /tmp that other users can enter; remove it after.

    pytest's own temporary folders are closed to other users, and PostgreSQL
    must not run as root.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    _tell_reaper(f"+folder {folder}")
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _tell_reaper(f"-folder {folder}")


class ServerProcess:
    """A child in a process group of its own, with its output in a file."""

    def __init__(self, command: list[str], log: Path, **options: object) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # type: ignore[call-overload]  # they differ
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        self.pid: int = self._process.pid
        _tell_reaper(f"+group {self.pid}")

    @property
    def is_running(self) -> bool:
        """Tell whether the process has not ended yet."""
        return self._process.poll() is None

    def output(self) -> str:
        """Return the end of what the server wrote."""
        return self._log.read_text(errors="replace")[-4000:]

    def stop(self, graceful: signal.Signals, *, seconds: float = 30) -> None:
        """Ask the process to end; kill its group when it does not."""
        if self.is_running:
            self._process.send_signal(graceful)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()

    @property
    def returncode(self) -> int | None:
        """How the process ended, as ``Popen`` has it; None: it runs."""
        code: int | None = self._process.poll()
        return code

    def kill(self) -> None:
        """SIGKILL the process, its direct children and its group."""
        children = self._children()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()
        _tell_reaper(f"-group {self.pid}")

    def signal_family(self, number: signal.Signals) -> None:
        """Send a signal to the process and its direct children, group or not."""
        for pid in (self.pid, *self._children()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    @property
    def is_stopped(self) -> bool:
        """Tell whether the process got SIGSTOP, and no SIGCONT since."""
        found = subprocess.run(
            ["ps", "-o", "state=", "-p", str(self.pid)],
            capture_output=True,
            text=True,
            check=False,  # 1: it is gone
        )
        return found.stdout.strip().startswith("T")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, SIGSTOP for example."""
        os.killpg(self.pid, number)

    def _children(self) -> list[int]:
        found = subprocess.run(
            [_PGREP, "-P", str(self.pid)],
            capture_output=True,
            text=True,
            check=False,  # 1: no children
        )
        return [int(child) for child in found.stdout.split()]


def wait_until(
    condition: Callable[[], bool], process: ServerProcess, *, seconds: float = 60
) -> bool:
    """Poll until the condition holds (True) or the process has ended (False)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        if not process.is_running:
            return False
        time.sleep(0.05)
    msg = f"server not ready in {seconds} s:\n{process.output()}"
    raise TimeoutError(msg)


def missing_server(what: str) -> None:
    """Skip the test on a laptop; fail it where ``CI`` is set."""
    message = f"{what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(f"{message}, and CI is set", pytrace=False)
    pytest.skip(message)
