"""A worker in a process of its own, whose handlers do what a saga tells them.

After its effect a run looks into its saga's context: ``{"rough": {"b": "abort"}}``
lets the action of step ``b`` end the process. Once per saga, unless it says ``ever``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.settings import Settings
from tests.support.books import Books
from tests.support.releases import ROOT, environment_of
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saga_orchestrator import StepContext

BLOCKED_SECONDS = 5.0
_FOR_EVER = 600


class WorkerProcess:
    """One life of a worker that serves the books."""

    def __init__(
        self,
        broker: str,
        folder: Path,
        *,
        name: str = "worker",
        heartbeat: int = 60,
        environment: dict[str, str] | None = None,
        root: Path = ROOT,
        memory: int = 0,
    ) -> None:
        """Start the process.

        Args:
            broker: the URL of its broker.
            folder: where its books are kept.
            name: in the books.
            heartbeat: seconds; a broker lets go of a silent peer after two or three.
            environment: variables beside the test's.
            root: the tree that it runs from; another one is another release.
            memory: bytes of address space that it may have; 0: as many as it likes.
        """
        self._ready = folder / f"ready-{id(self)}"
        command = [
            *(sys.executable, "-m", "tests.support.worker_process"),
            *(f"{broker}?heartbeat={heartbeat}", str(folder / "books.db")),
            *("--ready", str(self._ready), "--name", name, "--memory", str(memory)),
        ]
        self._file = folder / "worker.log"
        self._log = self._file.open("ab")
        self.child = subprocess.Popen(
            command,
            cwd=root,
            stdout=self._log,
            stderr=self._log,
            env=environment_of(root) | (environment or {}),
        )

    @property
    def is_alive(self) -> bool:
        """Tell whether the process has not ended."""
        return self.child.poll() is None

    async def ready(self) -> None:
        """Return when it takes commands."""
        await eventually(lambda: self._ready.exists() or not self.is_alive, seconds=60)
        assert self.is_alive, self._file.read_text()

    def kill(self) -> None:
        """SIGKILL: nothing in it runs any more."""
        self.child.kill()
        self.child.wait()
        self._log.close()


@contextlib.contextmanager
def worker_process(
    broker: str, folder: Path, **options: Any
) -> Iterator[WorkerProcess]:
    """Start a worker; kill it at the end, whatever became of it."""
    process = WorkerProcess(broker, folder, **options)
    try:
        yield process
    finally:
        process.kill()


class Rough:
    """What handlers of people do to their process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, ctx: StepContext) -> None:
        """Do what the saga says for this step."""
        plan = ctx.context.get("rough") or {}
        assert isinstance(plan, dict)
        what = str(plan.get(ctx.step, "")) if ctx.direction == "action" else ""
        if not what or not self._is_first(f"{ctx.saga_id}-{ctx.step}"):
            return
        does = getattr(self, f"_{what}")
        result = does()
        if asyncio.iscoroutine(result):
            await result

    def _is_first(self, name: str) -> bool:
        try:
            (self._folder / f"did-{name}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _fail(self) -> None:
        """Err after the effect was had."""
        raise ConnectionError("the answer was lost")

    async def _hang(self) -> None:
        """Never return; a cancellation ends it."""
        await asyncio.sleep(_FOR_EVER)

    async def _stubborn(self) -> None:
        """Never return, and swallow each cancellation."""
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(_FOR_EVER)

    def _block(self) -> None:
        """Hold up the event loop."""
        time.sleep(BLOCKED_SECONDS)

    def _leak(self) -> None:
        """Ask for memory until there is none."""
        kept = []
        while True:
            kept.append(bytearray(16 * 1024 * 1024))

    def _segfault(self) -> None:
        """Read what is nobody's."""
        ctypes.string_at(0)

    def _abort(self) -> None:
        """End as a failed assertion in C does."""
        os.abort()

    def _exit(self) -> None:
        """Leave without a word."""
        os._exit(0)

    def _oom(self) -> None:
        """End as the kernel ends whoever takes too much."""
        os.kill(os.getpid(), signal.SIGKILL)

    def _fork(self) -> None:
        """Leave a child behind that has all our connections open, and die."""
        if os.fork():
            os._exit(0)
        time.sleep(30)
        os._exit(0)

    def _fork_and_exit(self) -> None:
        """Fork a child that ends at once, as careless libraries do."""
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)


async def _serve(options: argparse.Namespace) -> None:
    if options.memory:
        resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    books = Books(options.books, worker=options.name)
    books.gate = Rough(options.books.parent)
    async with open_worker(Settings(broker=options.broker), [books.handlers]) as worker:
        options.ready.touch()
        await worker.run()


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("broker")
    parser.add_argument("books", type=Path)
    parser.add_argument("--ready", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--memory", type=int, default=0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    _main()
