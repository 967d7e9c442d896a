"""Names on the broker."""

from __future__ import annotations

import pytest

from saga_orchestrator.core.commands import routing_key
from saga_orchestrator.core.states import Direction
from saga_orchestrator.wire.topology import Topology


@pytest.mark.parametrize(
    ("direction", "service", "queue"),
    [
        (Direction.ACTION, "", "saga.steps"),
        (Direction.ACTION, "payments", "saga.steps.payments"),
        (Direction.COMPENSATION, "", "saga.compensate"),
        (Direction.COMPENSATION, "payments", "saga.compensate.payments"),
    ],
)
def test_queues_are_named_after_direction_and_service(direction, service, queue):
    """A service has one queue for doing and another for undoing."""
    assert Topology().queue_for(direction, service) == queue


def test_routing_keys_are_named_after_the_action():
    """``step.`` and ``compensate.`` before the name."""
    assert routing_key(Direction.ACTION, "payment.charge") == "step.payment.charge"
    assert routing_key(Direction.COMPENSATION, "payment.refund") == (
        "compensate.payment.refund"
    )
