"""The parent's side of its children: starting, killing and stopping them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from saga_orchestrator.child_process import ChildProcess
from saga_orchestrator.demo.child import READY, Role, Task
from saga_orchestrator.demo.plan import Plan


class Child(ChildProcess):
    """One process that is started, killed, and started again."""

    def __init__(self, name: str, task: Task, log: Path) -> None:
        super().__init__(name, "saga_orchestrator.demo.child", log)
        self._task = task

    async def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            ChildFailedError: it did not get there.
        """
        task = self._task
        self._task = replace(task, life=task.life + 1)
        said = await self.launch(task.to_line())
        if said != READY:
            await self.kill()
            raise self.failure("did not start")


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
