"""MassTransit's scenarios of RabbitMQ, on RabbitMQ: MT-17 and MT-18."""

from __future__ import annotations

from saga_orchestrator import Manager
from tests.scenarios.engines import Service
from tests.scenarios.masstransit_engine import (
    argument_missing,
    ten_at_once,
    validating,
)


async def test_ten_slips_at_once_complete_each_once(rabbit_url: str) -> None:
    """MT-17: ten slips run to their end, each activity of each once."""
    service = Service()
    steps = [service.step("A1"), service.step("A2")]
    async with Manager.open(broker=rabbit_url, handlers=[service.handlers]) as manager:
        await ten_at_once(manager, service, steps)


async def test_a_missing_argument_is_refused_and_nothing_follows(
    rabbit_url: str,
) -> None:
    """MT-18: A1 is refused for its argument, by name; A2 does not run."""
    strict, a2, steps = validating()
    async with Manager.open(
        broker=rabbit_url, handlers=[strict, a2.handlers]
    ) as manager:
        await argument_missing(manager, a2, steps)
