"""Our processes, each behind proxies of its own, started again when they end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path

from tests.chaos.services import LEDGER, SEED
from tests.support.processes import ServerProcess
from tests.support.proxy import TcpProxy
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]

READY_SECONDS = 90
DRAIN_SECONDS = 30
PAUSE_SECONDS_MAX = 2.0
_POLL_SECONDS = 0.1
_READY = b'"event": "ready"'
_TRACEBACK = b"Traceback (most recent call last)"


class Child:
    """One process under supervision; ``live`` must run beside it.

    Attributes:
        name: for people.
        amqp: the proxy to its broker.
        postgres: the proxy to its database; None: a worker has none.
        lives: how often it got ready.
        surprises: what it should not have done: end unasked, drain badly.
    """

    def __init__(
        self,
        name: str,
        arguments: list[str],
        environment: dict[str, str],
        log: Path,
        *,
        amqp: TcpProxy,
        postgres: TcpProxy | None,
    ) -> None:
        self.name = name
        self.amqp = amqp
        self.postgres = postgres
        self.lives = 0
        self.surprises: list[str] = []
        self._command = [sys.executable, "-m", "saga_orchestrator", *arguments]
        self._environment = environment
        self._log = log
        self._process: ServerProcess | None = None
        self._is_ready = False
        self._is_doomed = False

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_frozen(self) -> bool:
        """Whether the process has got SIGSTOP."""
        return self._process is not None and self._process.is_stopped

    @property
    def proxies(self) -> list[TcpProxy]:
        """Its connections' proxies."""
        return [self.amqp, *([self.postgres] if self.postgres else [])]

    @property
    def tracebacks(self) -> int:
        """How many defects its log tells of."""
        return self._log.read_bytes().count(_TRACEBACK)

    async def live(self, rng: random.Random) -> None:
        """Start the process, and again whenever it ends; never returns."""
        while True:
            process = await self._start()
            while process.is_running:  # noqa: ASYNC110 - no event tells of its end
                await asyncio.sleep(_POLL_SECONDS)
            if self._is_ready and not self._is_doomed:
                self.surprises.append(
                    f"{self.name} ended by itself with {process.returncode}"
                )
            self._is_ready = self._is_doomed = False
            await asyncio.sleep(rng.uniform(0.2, PAUSE_SECONDS_MAX))

    async def ready(self, life: int) -> None:
        """Wait until the process got ready so many times, and is."""
        await eventually(
            lambda: self._is_ready and self.lives >= life, seconds=READY_SECONDS
        )

    async def kill(self) -> int | None:
        """SIGKILL it; return how it ended."""
        assert self._process is not None
        self._is_doomed = True
        await asyncio.to_thread(self._process.kill)
        return self._process.returncode

    async def terminate(self) -> int | None:
        """SIGTERM it and wait for its end; return how it ended: with 0."""
        process = self._process
        assert process is not None
        self._is_doomed = True
        process.signal(signal.SIGTERM)
        await eventually(lambda: not process.is_running, seconds=DRAIN_SECONDS + 5)
        if process.returncode != 0:
            self.surprises.append(f"{self.name} was asked to end: {process.returncode}")
        return process.returncode

    def freeze(self) -> None:
        """SIGSTOP it."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT it."""
        assert self._process is not None
        self._process.signal(signal.SIGCONT)

    def end(self) -> None:
        """SIGKILL it for good; ``live`` was cancelled."""
        if self._process is not None:
            self._process.kill()

    async def _start(self) -> ServerProcess:
        """Start the process, and return when it got ready or ended."""
        before = self._log.stat().st_size if self._log.exists() else 0
        process = self._process = ServerProcess(
            self._command, self._log, cwd=ROOT, env=self._environment
        )
        while process.is_running and not self._is_ready:
            with self._log.open("rb") as log:
                log.seek(before)
                self._is_ready = _READY in log.read()
            await asyncio.sleep(_POLL_SECONDS)
        self.lives += self._is_ready
        return process


class Fleet:
    """All our processes.

    Attributes:
        orchestrators: run engines, without handlers.
        workers: run the handlers.
    """

    def __init__(self, folder: Path, *, ledger: Path, seed: int) -> None:
        """Describe the fleet.

        Args:
            folder: for the logs.
            ledger: the database of effects.
            seed: decides what the handlers do.
        """
        self._folder = folder
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SAGA_")},
            "SAGA_CONCURRENCY": "8",
            "SAGA_LOG_FORMAT": "json",
            "SAGA_DRAIN_SECONDS": str(DRAIN_SECONDS - 10),
            LEDGER: str(ledger),
            SEED: str(seed),
        }
        self.orchestrators: list[Child] = []
        self.workers: list[Child] = []

    @property
    def children(self) -> list[Child]:
        """Both kinds."""
        return [*self.orchestrators, *self.workers]

    @property
    def surprises(self) -> list[str]:
        """What no process should have done."""
        told = [text for child in self.children for text in child.surprises]
        return told + [
            f"{child.name} logged {child.tracebacks} tracebacks"
            for child in self.children
            if child.tracebacks
        ]

    def add_orchestrator(
        self, *, store: str, broker: str, amqp: TcpProxy, postgres: TcpProxy
    ) -> None:
        """Add one; ``Child.live`` starts it. The URLs are those of its proxies."""
        name = f"orchestrator {len(self.orchestrators) + 1}"
        urls = {"SAGA_STORE": store, "SAGA_BROKER": broker}
        self.orchestrators.append(self._child(name, "serve", urls, amqp, postgres))

    def add_worker(self, *, broker: str, amqp: TcpProxy) -> None:
        """Add one; ``Child.live`` starts it. The URL is that of its proxy."""
        name = f"worker {len(self.workers) + 1}"
        arguments = "worker tests.chaos.app:services"
        urls = {"SAGA_BROKER": broker}
        self.workers.append(self._child(name, arguments, urls, amqp))

    def _child(
        self,
        name: str,
        arguments: str,
        urls: dict[str, str],
        amqp: TcpProxy,
        postgres: TcpProxy | None = None,
    ) -> Child:
        log = self._folder / f"{name.replace(' ', '-')}.log"
        environment = {**self._environment, **urls}
        return Child(
            name, arguments.split(), environment, log, amqp=amqp, postgres=postgres
        )

    def end(self) -> None:
        """SIGKILL all."""
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                child.end()
