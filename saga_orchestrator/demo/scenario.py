"""What the demo runs: an order that spans five services, which fail by the seed.

    create_order -> reserve_inventory -> charge_payment -> ship_order -> notify

Names on the store and on the broker belong to one run, so that a demo never
takes part in what others do there.
"""

from __future__ import annotations

import datetime as dt

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.demo.effects import Effects
from saga_orchestrator.demo.faults import Fate, chance, fate_of, is_refused
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.participant.signals import StepFailed
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.wire.topology import Topology

SAGA_NAME = "demo_order"
CHARGE = "charge_payment"
SHIP = "ship_order"

TIMEOUT = dt.timedelta(seconds=0.5)
"""Of one run of a handler; what stalls costs its saga this much."""

_QUICK = RetryPolicy(
    max_attempts=5,
    initial_delay=dt.timedelta(milliseconds=50),
    max_delay=dt.timedelta(seconds=1),
)
_PERSISTENT = RetryPolicy(
    max_attempts=None,
    initial_delay=dt.timedelta(milliseconds=50),
    max_delay=dt.timedelta(seconds=1),
)

_STEPS = (
    ("create_order", "orders.create", "orders.delete"),
    ("reserve_inventory", "inventory.reserve", "inventory.release"),
    (CHARGE, "payment.charge", "payment.refund"),
    (SHIP, "shipping.schedule", "shipping.cancel"),
    ("notify_customer", "notifications.send", ""),  # no way back, and it is the last
)


class OutOfStock(StepFailed):
    """The shelf is empty."""


class CardDeclined(StepFailed):
    """The bank says no."""


class NoCourier(StepFailed):
    """Nobody goes there."""


_REFUSALS = {
    "reserve_inventory": (OutOfStock, "the shelf is empty"),
    CHARGE: (CardDeclined, "the bank says no"),
    SHIP: (NoCourier, "nobody goes there"),
}


def definition_of(run: str) -> SagaDefinition:
    """Return the order as a saga whose actions belong to one run."""
    return SagaDefinition(
        SAGA_NAME,
        steps=[
            Step(
                name,
                action=_own(run, action),
                compensation=_own(run, undo) if undo else "",
                retry=_QUICK if undo else _PERSISTENT,
                compensation_retry=_PERSISTENT,
                timeout=TIMEOUT,
            )
            for name, action, undo in _STEPS
        ],
    )


def context_of(seed: int, order: int) -> dict[str, Json]:
    """Return what an order is started with."""
    return {"order": order, "cents": 500 + int(chance(seed, order, "cents") * 20_000)}


def key_of(run: str, order: int) -> str:
    """Return the start key of an order."""
    return f"demo-{run}-{order}"


def topology_of(run: str) -> Topology:
    """Return the run's names on the broker.

    The queues are its own. The exchange is the usual one: an engine relays all
    commands of its store, also those of other installations, and theirs must
    reach their queues.
    """
    stem = f"saga-demo.{run}"
    return Topology(
        steps=f"{stem}.steps",
        compensate=f"{stem}.compensate",
        replies=f"{stem}.replies",
        undelivered=f"{stem}.undelivered",
        dead=f"{stem}.dead",
    )


class Shop:
    """The handlers of all five services.

    Args:
        run: whose actions they are for.
        seed: decides what goes wrong.
        effects: where effects go.
        clock: what stalls wait on.
    """

    def __init__(self, run: str, seed: int, effects: Effects, clock: Clock) -> None:
        self._run = run
        self._seed = seed
        self._effects = effects
        self._clock = clock

    def handlers(self) -> Handlers:
        """Return the registered handlers."""
        handlers = Handlers()
        for _, action, undo in _STEPS:
            handlers.step(_own(self._run, action))(self._do)
            if undo:
                handlers.compensation(_own(self._run, undo))(self._undo)
        return handlers

    async def _do(self, ctx: StepContext, order: dict[str, int]) -> Json:
        if is_refused(self._seed, order["order"], ctx.step):
            refusal, reason = _REFUSALS[ctx.step]
            raise refusal(reason)
        return await self._perform(ctx, order)

    async def _undo(self, ctx: StepContext, done: Json) -> None:
        order = ctx.input
        assert isinstance(order, dict), "it is the context"
        await self._perform(ctx, order)

    async def _perform(self, ctx: StepContext, order: dict[str, int]) -> Json:
        fate = fate_of(self._seed, order["order"], ctx.step, ctx.direction, ctx.attempt)
        if fate is Fate.STALL_BEFORE:
            await self._stall()
        if fate is Fate.ERROR_BEFORE:
            raise ConnectionError("no connection")
        output = await self._effects.append(ctx, order["cents"])
        if fate is Fate.STALL_AFTER:
            await self._stall()
        if fate is Fate.ERROR_AFTER:
            raise ConnectionError("the answer was lost")
        return output

    async def _stall(self) -> None:
        """Wait until the runtime cancels the run."""
        await self._clock.sleep(2 * TIMEOUT.total_seconds())


def _own(run: str, action: str) -> str:
    return f"demo-{run}.{action}"
