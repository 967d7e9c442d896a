"""Sagas for `saga serve` that are measured as users run them."""

from __future__ import annotations

from saga_orchestrator import Handlers, SagaDefinition, Step, StepContext
from saga_orchestrator.participant.signals import Deferred

quick = SagaDefinition(
    "quick", steps=[Step(f"step_{n}", action="shop.do") for n in range(1, 4)]
)
waiting = SagaDefinition("waiting", steps=[Step("answer", action="shop.ask")])
shop = Handlers("shop")


@shop.step("shop.do")
async def do(ctx: StepContext) -> None:
    """Do nothing."""


@shop.step("shop.ask")
async def ask(ctx: StepContext) -> Deferred:
    """Ask somebody, who will not answer for a long time."""
    return Deferred()
