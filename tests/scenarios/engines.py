"""Real managers, in real time, and a service that notes what it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from saga_orchestrator import Handlers, Manager, Step, StepContext, Store

SECONDS = 30.0
"""How long a scenario waits for an engine, at most."""


@asynccontextmanager
async def manager_on(url: str, *handlers: Handlers) -> AsyncIterator[Manager]:
    """Open a manager on a store.

    With handlers it runs an engine, on a broker in this process; without it
    only starts sagas. Either way others may share the store.
    """
    store = await Store.open(url, migrate=True)
    async with Manager.open(store=store, handlers=handlers) as manager:
        yield manager


class Service:
    """Handlers that note each run, then do what their step was given to do.

    Attributes:
        handlers: to be given to a manager or a play.
        runs: what was run, in order: ``S1``, ``undo S1``.
        contexts: the context of each run.
    """

    def __init__(self, name: str = "scenario") -> None:
        self.handlers = Handlers(name)
        self.runs: list[str] = []
        self.contexts: list[StepContext] = []

    def step(
        self,
        name: str,
        does: Callable[[StepContext], object] = lambda _: None,
        undoes: Callable[[StepContext], object] = lambda _: None,
        **options: Any,
    ) -> Step:
        """Return a step whose action and compensation this service has."""
        action = f"{self.handlers.service}.{name}"
        undo = f"{self.handlers.service}.undo-{name}"
        self.handlers.step(action)(self._noting(name, does))
        self.handlers.compensation(undo)(self._noting(f"undo {name}", undoes))
        options.setdefault("compensation", undo)
        return Step(name, action=action, **options)

    def _noting(
        self, name: str, does: Callable[[StepContext], object]
    ) -> Callable[[StepContext], object]:
        async def run(ctx: StepContext) -> object:
            self.runs.append(name)
            self.contexts.append(ctx)
            return does(ctx)

        return run
