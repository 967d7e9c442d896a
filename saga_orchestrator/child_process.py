"""A process of ours that another one starts, talks to by lines, and ends.

Its task goes through stdin, for URLs hold passwords; when stdin ends it stops, so it
never outlives its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from saga_orchestrator.errors import SagaError

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
LOG_LINES_SHOWN = 15


class ChildFailedError(SagaError):
    """A child ended by itself, or never got ready; has the end of its log."""


class ChildProcess:
    """One child; it may be killed and started again.

    Attributes:
        name: for people, as ``orchestrator 1``.
    """

    def __init__(self, name: str, module: str, log: Path) -> None:
        """Prepare it; nothing is started yet.

        Args:
            name: for people.
            module: what it runs.
            log: where its stderr is appended to.
        """
        self.name = name
        self._module = module
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def launch(self, task: bytes) -> bytes:
        """Start the process with a task; return the first line that it says.

        Raises:
            ChildFailedError: it said nothing in time; it is gone.
        """
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is the parent's to handle
            )
        self.tell(task)
        said = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                said = await self.hear()
        if not said:
            await self.kill()
            raise self.failure("did not start")
        return said

    def tell(self, line: bytes) -> None:
        """Send the process a line."""
        assert self._process is not None, "it was started"
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write(line)

    async def hear(self) -> bytes:
        """Return the next line of the process; empty: it has ended."""
        assert self._process is not None, "it was started"
        assert self._process.stdout is not None, "it is a pipe"
        return await self._process.stdout.readline()

    async def ended(self) -> int:
        """Wait for the end of the process; return its exit code."""
        assert self._process is not None, "it was started"
        return await self._process.wait()

    def check(self) -> None:
        """Make sure that the process still runs.

        Raises:
            ChildFailedError: it ended, and nobody asked it to.
        """
        if self._process is not None and self._process.returncode is not None:
            raise self.failure(f"ended by itself, with {self._process.returncode}")

    async def stop(self) -> None:
        """Let the process finish what it has in hand, and end."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL the process, if it runs, and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    def failure(self, what: str) -> ChildFailedError:
        """Return an error that says what went wrong, with the end of the log."""
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return ChildFailedError("\n".join([f"{self.name} {what}", *lines]))
