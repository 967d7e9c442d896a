"""One process of the run: an engine with handlers, or a worker.

It is what ``saga serve`` and ``saga worker`` run, from settings on. It is forked from
a process that has imported everything: two hundred Pythons would take minutes.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from saga_orchestrator import Handlers, SagaDefinition, Step, StepContext, StepFailed
from saga_orchestrator.bootstrap import open_manager, open_worker
from saga_orchestrator.cli.daemon import run, run_until_stopped
from saga_orchestrator.settings import Settings
from tests.drains.ledger import Ledger

DRAIN_SECONDS = 3.0
CONCURRENCY = 8
_RUN_SECONDS = 0.2
_FOR_EVER = 600.0


def trip() -> SagaDefinition:
    """Return the saga of the run: two steps in the engine, one in the worker."""
    names = ("near.a", "far.b", "near.c")
    steps = [
        Step(name[-1], action=name, compensation=f"{name[:-1]}undo_{name[-1]}")
        for name in names
    ]
    return SagaDefinition("trip", steps)


@dataclass(frozen=True)
class Life:
    """What a process is to be.

    Attributes:
        name: in the ledger.
        service: ``near``: an engine with these handlers; ``far``: a worker.
        store: the engine's store.
        broker: both's broker.
        folder: of the ledger and the logs; ``name`` appears there once it works.
        hangs: let its first run never end by itself.
    """

    name: str
    service: str
    store: str
    broker: str
    folder: Path
    hangs: bool

    def main(self) -> None:
        """Run until SIGTERM; exit as the command does."""
        log = os.open(self.folder / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.dup2(log, sys.stdout.fileno())
        os.dup2(log, sys.stderr.fileno())
        try:
            run(self._run())
        except typer.Exit as ending:
            sys.exit(ending.exit_code)

    async def _run(self) -> None:
        settings = Settings(
            store=self.store, broker=self.broker, concurrency=CONCURRENCY
        )
        handlers = [self._handlers(Ledger(self.folder / "ledger.db"))]

        def ready(_: object) -> None:
            (self.folder / self.name).touch()

        if self.service == "near":
            manager = open_manager(settings, handlers=handlers, engine=True)
            await run_until_stopped(manager, DRAIN_SECONDS, ready)
        else:
            worker = open_worker(settings, handlers)
            await run_until_stopped(worker, DRAIN_SECONDS, ready)

    def _handlers(self, ledger: Ledger) -> Handlers:
        rng = random.Random(self.name)
        hanging = iter([self.hangs])

        async def act(ctx: StepContext, given: object) -> None:
            del given
            number = ledger.begin(ctx, self.name)
            slow = next(hanging, False)
            await asyncio.sleep(_FOR_EVER if slow else rng.random() * _RUN_SECONDS)
            ledger.end(number)
            if ctx.context.get("refuse") == ctx.step and ctx.direction == "action":
                raise StepFailed("refused")

        handlers = Handlers(self.service)
        for step in trip().steps:
            if step.action.startswith(self.service):
                handlers.step(step.action)(act)
                handlers.compensation(step.compensation)(act)
        return handlers
