"""An engine in a process of its own that dies before it publishes its first event."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from typing import TYPE_CHECKING

from saga_orchestrator import Handlers, Manager, SagaDefinition, Step, StepContext
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.wire.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saga_orchestrator.ports.broker import OutgoingMessage, Receipt

NAMES = ("reserve", "charge", "ship")
SHOP = SagaDefinition(
    "shop", steps=[Step(name, action=f"shop.{name}") for name in NAMES]
)

shop = Handlers("shop")


async def _act(ctx: StepContext, request: object) -> dict[str, str]:
    del request
    ctx.emit(f"shop.{ctx.step}.done", {"step": ctx.step})
    return {"by": ctx.step}


for _name in NAMES:
    shop.step(f"shop.{_name}")(_act)


class Deadly(RabbitBroker):
    """Kills the process instead of publishing an event."""

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[Receipt]:
        """Die, or publish."""
        if any(one.exchange == Topology().events for one in messages):
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().publish(messages)


async def main(store: str, url: str) -> None:
    """Run the engine until it dies."""
    broker = Deadly(url, rng=random.Random(1))
    await broker.open()
    async with Manager.open(
        store=store, broker=broker, handlers=[shop], lifecycle_events=True
    ) as manager:
        await manager.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
