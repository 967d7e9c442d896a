"""What the fuzzed orchestrator runs: sagas that do what their context asks for."""

from __future__ import annotations

from datetime import timedelta

from saga_orchestrator import Handlers, RetryPolicy, SagaDefinition, Step, StepFailed
from saga_orchestrator.participant.signals import Deferred

shop = Handlers("shop")
ONCE = RetryPolicy(max_attempts=1)
STEPS = [
    Step(
        name,
        action=f"shop.{name}",
        compensation="shop.undo",
        retry=ONCE,
        compensation_retry=ONCE,
    )
    for name in ("pay", "charge_payment")
]

order = SagaDefinition("order_processing", steps=STEPS)
parked = SagaDefinition("parked", steps=STEPS, on_failure="park")
TWICE = RetryPolicy(max_attempts=2, initial_delay=timedelta(seconds=4))
slow = SagaDefinition("slow", steps=[Step("pay", action="shop.break", retry=TWICE)])
"""It is stale for some seconds; not longer, as there are those that wait for it."""


@shop.step("shop.pay")
@shop.step("shop.charge_payment")
async def run(ctx, given):
    """Do what the context says under the step's name; else succeed."""
    match ctx.context.get(ctx.step):
        case "fail":
            raise StepFailed("no")
        case "defer":
            return Deferred()
    return {"by": ctx.step}


@shop.step("shop.break")
async def break_off(ctx, given):
    """Fail for a reason that may pass."""
    raise OSError("broken")


@shop.compensation("shop.undo")
async def undo(ctx, done):
    """Succeed."""
