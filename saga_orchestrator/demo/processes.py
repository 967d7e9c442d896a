"""The parent's side of its children: starting, killing and stopping them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from saga_orchestrator.demo.child import READY, Role, Task
from saga_orchestrator.demo.plan import Plan
from saga_orchestrator.errors import SagaError

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
LOG_LINES_SHOWN = 15


class ChildFailedError(SagaError):
    """A child ended by itself, or never got ready; has the end of its log."""


class Child:
    """One process that is started, killed, and started again.

    Attributes:
        name: for people, as ``orchestrator 1``.
    """

    def __init__(self, name: str, task: Task, log: Path) -> None:
        self.name = name
        self._task = task
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            ChildFailedError: it did not get there.
        """
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "saga_orchestrator.demo.child"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is the parent's to handle
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None, "it is a pipe"
        assert stdout is not None, "it is a pipe"
        stdin.write(self._task.to_line())
        self._task = replace(self._task, life=self._task.life + 1)
        try:
            async with asyncio.timeout(READY_SECONDS):
                said = await stdout.readline()
        except TimeoutError:
            said = b""
        if said != READY:
            await self.kill()
            raise self._failure("did not start")

    def check(self) -> None:
        """Make sure that the process still runs.

        Raises:
            ChildFailedError: it ended, and nobody asked it to.
        """
        if self._process is not None and self._process.returncode is not None:
            raise self._failure(f"ended by itself, with {self._process.returncode}")

    async def kill(self) -> None:
        """SIGKILL the process, if it runs, and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def stop(self) -> None:
        """Let the process finish what it has in hand, and end."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
        self._process = None

    def _failure(self, what: str) -> ChildFailedError:
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return ChildFailedError("\n".join([f"{self.name} {what}", *lines]))


class Fleet:
    """The children of one run.

    Attributes:
        children: all of them.
        victims: those to be killed: the first of each role.
    """

    def __init__(
        self, orchestrators: Sequence[Child], workers: Sequence[Child]
    ) -> None:
        self.children = (*orchestrators, *workers)
        self.victims = (*orchestrators[:1], *workers[:1])

    async def start(self, children: Sequence[Child]) -> None:
        """Start some and wait until all are ready.

        Raises:
            ChildFailedError: one did not get there.
        """
        await asyncio.gather(*(child.start() for child in children))

    def check(self) -> None:
        """Make sure that all still run.

        Raises:
            ChildFailedError: one ended, and nobody asked it to.
        """
        for child in self.children:
            child.check()

    async def kill(self, children: Sequence[Child]) -> None:
        """SIGKILL some."""
        await asyncio.gather(*(child.kill() for child in children))

    async def stop(self) -> None:
        """Let all finish what they have in hand; the workers last."""
        for child in self.children:
            await child.stop()


def fleet_of(plan: Plan, run: str, folder: Path, effects: Path) -> Fleet:
    """Return the children that a plan asks for; none is started."""

    def children(role: Role, count: int) -> list[Child]:
        task = Task(
            role=role,
            scenario=plan.scenario.name,
            run=run,
            seed=plan.seed,
            life=0,
            store=plan.store,
            broker=plan.broker,
            effects=str(effects),
            with_handlers=plan.workers == 0,
            with_barrier=plan.with_barrier,
        )
        return [
            Child(f"{role} {number}", task, folder / f"{role}-{number}.log")
            for number in range(1, count + 1)
        ]

    return Fleet(
        children("orchestrator", plan.orchestrators), children("worker", plan.workers)
    )
