"""The sagas that the kit's own tests play."""

from __future__ import annotations

import datetime as dt
from typing import Any

from saga_orchestrator import Handlers, SagaDefinition, Step, StepContext
from saga_orchestrator.testing import Given, given


def seconds(number: float) -> dt.timedelta:
    """Return a duration."""
    return dt.timedelta(seconds=number)


def step(name: str, **options: Any) -> Step:
    """Return a step with an action and a compensation, ``x.do`` and ``undo.x``."""
    options.setdefault("action", f"{name}.do")
    options.setdefault("compensation", f"undo.{name}")
    return Step(name, **options)


def saga(*steps: Step | str, handlers: Handlers | None = None, **options: Any) -> Given:
    """Return a play of these steps; a name stands for ``step(name)``."""
    whole = [one if isinstance(one, Step) else step(one) for one in steps]
    definition = SagaDefinition("sample", steps=whole, **options)
    return given(definition, {"n": 1}, handlers=[handlers] if handlers else [])


class Witness:
    """A service for the step ``b`` that notes its runs.

    Attributes:
        handlers: to be given to a play.
        runs: the contexts of its runs, in order.
    """

    def __init__(self, *, long: bool = False, signal: Exception | None = None) -> None:
        self.handlers = Handlers("witness")
        self.runs: list[StepContext] = []

        async def run(ctx: StepContext) -> dict[str, int]:
            self.runs.append(ctx)
            if signal is not None:
                raise signal
            return {"run": len(self.runs)}

        self.handlers.step("b.do", long=long)(run)
