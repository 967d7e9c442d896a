"""The sagas that scenarios are played with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from saga_orchestrator import Handlers, RetryPolicy, SagaDefinition, Step
from saga_orchestrator.testing import Given, given

ONCE = RetryPolicy(max_attempts=1)
UNDO_ONCE = RetryPolicy(max_attempts=1)


def step(name: str, **options: Any) -> Step:
    """Return a step with an action and a compensation, ``do.x`` and ``undo.x``."""
    options.setdefault("action", f"do.{name}")
    options.setdefault("compensation", f"undo.{name}")
    return Step(name, **options)


def saga(
    *steps: Step | str,
    context: Mapping[str, Any] | None = None,
    handlers: Iterable[Handlers] = (),
    **options: Any,
) -> Given:
    """Return a play of these steps; a name stands for ``step(name)``."""
    whole = [one if isinstance(one, Step) else step(one) for one in steps]
    definition = SagaDefinition("scenario", steps=whole, **options)
    return given(definition, context, handlers=handlers)
