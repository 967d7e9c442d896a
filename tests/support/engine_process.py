"""An engine in a process of its own, for a test to stop, to kill, to go on.

Its claims last a second, where a user's last five: a test's time is short.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_orchestrator import Manager
from saga_orchestrator.runtime import engine, publisher, relay
from tests.support.books import Books
from tests.support.releases import ROOT, environment_of
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

CLAIM_SECONDS = 1


class EngineProcess:
    """One life of the engine.

    Attributes:
        hold: the file that its handlers wait for, if they were told to hold.
        held: the file that says that one waits.
    """

    def __init__(
        self,
        store: str,
        broker: str,
        folder: Path,
        *,
        hold: bool = False,
        serves: bool = True,
        heartbeat: int = 60,
        environment: dict[str, str] | None = None,
        root: Path = ROOT,
    ) -> None:
        """Start the process.

        Args:
            store: the URL of its store.
            broker: the URL of its broker.
            folder: where its books are kept.
            hold: let its handlers wait, when they took effect, for a file.
            serves: let it run handlers; else it only publishes and takes answers.
            heartbeat: seconds; a broker lets go of a silent peer after two or three.
            environment: variables beside the test's.
            root: the tree that it runs from; another one is another release.
        """
        self._ready = folder / f"ready-{id(self)}"
        self.hold = folder / "go-on"
        self.held = _held(self.hold)
        command = [
            *(sys.executable, "-m", "tests.support.engine_process"),
            *(store, f"{broker}?heartbeat={heartbeat}", str(folder / "books.db")),
            *("--ready", str(self._ready)),
            *(("--hold", str(self.hold)) if hold else ()),
            *(("--serves",) if serves else ()),
        ]
        self._file = folder / "engine.log"
        self._log = self._file.open("ab")
        self._child = subprocess.Popen(
            command,
            cwd=root,
            stdout=self._log,
            stderr=self._log,
            env=environment_of(root) | (environment or {}),
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Tell whether the process has not ended."""
        return self._child.poll() is None

    async def ready(self) -> None:
        """Return when its engine is open."""
        await eventually(lambda: self._ready.exists() or not self.is_alive)
        assert self.is_alive, self._file.read_text()

    def kill(self) -> None:
        """SIGKILL: nothing in it runs any more."""
        self._child.kill()
        self._child.wait()
        self._log.close()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and does nothing."""
        self._child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on as if no time had passed."""
        self._child.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def engine_process(
    store: str, broker: str, folder: Path, **options: Any
) -> Iterator[EngineProcess]:
    """Start an engine; kill it at the end, whatever became of it."""
    process = EngineProcess(store, broker, folder, **options)
    try:
        yield process
    finally:
        process.kill()


async def _serve(options: argparse.Namespace) -> None:
    books = Books(options.books, worker="child")
    if options.hold:
        books.gate = lambda _: _wait(options.hold)
    async with Manager.open(
        store=options.store,
        broker=options.broker,
        handlers=[books.handlers] if options.serves else [],
        engine=True,
    ) as manager:
        options.ready.touch()
        await manager.run()


async def _wait(file: Path) -> None:
    _held(file).touch()
    await eventually(file.exists, seconds=60)


def _held(file: Path) -> Path:
    return file.with_suffix(".held")


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("broker")
    parser.add_argument("books", type=Path)
    parser.add_argument("--ready", type=Path, required=True)
    parser.add_argument("--hold", type=Path)
    parser.add_argument("--serves", action="store_true")
    for module in (engine, publisher, relay):
        vars(module)["LEASE"] = dt.timedelta(seconds=CLAIM_SECONDS)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    _main()
