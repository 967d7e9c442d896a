"""The parent's side of its children: starting them, ordering loads, stopping them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from saga_orchestrator.bench.account import Account
from saga_orchestrator.bench.child import Role, Task
from saga_orchestrator.bench.load import LoadOrder
from saga_orchestrator.bench.plan import Plan
from saga_orchestrator.child_process import ChildProcess
from saga_orchestrator.ports.clock import Clock

ANSWER_SECONDS = 60.0


class Child(ChildProcess):
    """One process of the bench.

    Attributes:
        task: what it is.
    """

    def __init__(self, name: str, task: Task, log: Path) -> None:
        super().__init__(name, "saga_orchestrator.bench.child", log)
        self.task = task

    async def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            ChildFailedError: it did not get there.
        """
        await self.launch(_line(self.task.to_json()))

    def order(self, what: dict[str, Any]) -> None:
        """Send the process a document."""
        self.tell(_line(what))

    async def answer(self) -> dict[str, Any]:
        """Return the next document of the process.

        Raises:
            ChildFailedError: it ended, and nobody asked it to.
        """
        line = await self.hear()
        if not line:
            raise self.failure(f"ended by itself, with {await self.ended()}")
        said: dict[str, Any] = json.loads(line)
        return said


class Fleet:
    """The children of one run.

    Args:
        plan: what is measured.
        run: the run's name.
        folder: for logs, accounts and tickets.
        clock: where the time comes from.
    """

    def __init__(self, plan: Plan, run: str, folder: Path, clock: Clock) -> None:
        self._plan = plan
        self._run = run
        self._folder = folder
        self._clock = clock
        self._orchestrators = self._children("orchestrator", plan.orchestrators)
        workers = self._children("worker", plan.workers)
        self._all = [*self._orchestrators, *workers]
        self._loads = 0

    async def start(self) -> None:
        """Start all and wait until they are ready.

        Raises:
            ChildFailedError: one did not get there.
        """
        await asyncio.gather(*(child.start() for child in self._all))

    async def perform(
        self,
        sagas: int,
        window: int,
        rate: float | None,
    ) -> dict[str, Account]:
        """Let the orchestrators start sagas; return once all have come to rest.

        Or once none has for longer than the plan's patience.

        Args:
            sagas: how many, in all.
            window: how many at a time, in all.
            rate: starts a second, in all; None: closed.

        Returns:
            What each process did, by its name.

        Raises:
            ChildFailedError: one ended.
        """
        self._loads += 1
        order = LoadOrder(
            tickets=str(self._folder / f"{self._run}-{self._loads}.tickets"),
            sagas=sagas,
            window=window,
            rate=rate,
            begin_at=self._clock.monotonic(),
        )
        watch = _Following(self._all, sagas, self._plan.patience, self._clock)
        count = len(self._orchestrators)
        for number, child in enumerate(self._all):
            load = None
            if child.task.role == "orchestrator":
                share = (window + count - 1 - number) // count
                load = asdict(order) | {"window": share}
            account = self._folder / f"{self._run}-{self._loads}-{number}.json"
            child.order({"load": load, "account": str(account)})
        accounts = await asyncio.gather(*(watch.follow(child) for child in self._all))
        return {
            child.name: account
            for child, account in zip(self._all, accounts, strict=True)
        }

    async def stop(self) -> None:
        """Let all finish what they have in hand; the workers last."""
        for child in self._all:
            await child.stop()

    async def kill(self) -> None:
        """SIGKILL those that still run."""
        await asyncio.gather(*(child.kill() for child in self._all))

    def _children(self, role: Role, count: int) -> list[Child]:
        task = Task(
            role=role,
            run=self._run,
            shape=asdict(self._plan.shape),
            seed=self._plan.seed,
            store=self._plan.store,
            broker=self._plan.broker,
            with_handlers=self._plan.workers == 0,
        )
        return [
            Child(f"{role} {number}", task, self._folder / f"{role}-{number}.log")
            for number in range(1, count + 1)
        ]


class _Following:
    """Hears all children during one load, and tells them when it is over."""

    def __init__(
        self,
        children: list[Child],
        sagas: int,
        patience: float,
        clock: Clock,
    ) -> None:
        self._children = children
        self._sagas = sagas
        self._patience = patience
        self._clock = clock
        self._ended: dict[str, int] = {}
        self._moved_at = clock.monotonic()
        self._is_over = False

    async def follow(self, child: Child) -> Account:
        """Hear one child up to its account."""
        while True:
            asked = self._is_over
            try:
                async with asyncio.timeout(ANSWER_SECONDS if asked else self._patience):
                    said = await child.answer()
            except TimeoutError:
                if asked:
                    raise child.failure("does not answer") from None
                self._lose_patience()
                continue
            if "account" in said:
                return Account.read(Path(said["account"]))
            self._ended[child.name] = said["ended"]
            self._moved_at = self._clock.monotonic()
            if sum(self._ended.values()) >= self._sagas:
                self._finish()

    def _lose_patience(self) -> None:
        if self._clock.monotonic() - self._moved_at >= self._patience:
            self._finish()

    def _finish(self) -> None:
        if not self._is_over:
            self._is_over = True
            for child in self._children:
                child.order({"over": True})


def _line(what: dict[str, Any]) -> bytes:
    return json.dumps(what).encode() + b"\n"
