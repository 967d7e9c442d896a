"""An order that spans five services: money against goods."""

from __future__ import annotations

from saga_orchestrator.core.definition import Step
from saga_orchestrator.demo.scenarios.scenario import Balance, Refusal, Scenario
from saga_orchestrator.participant.signals import StepFailed


class OutOfStock(StepFailed):
    """The shelf is empty."""


class CardDeclined(StepFailed):
    """The bank says no."""


class NoCourier(StepFailed):
    """Nobody goes there."""


ORDER = Scenario(
    name="order",
    steps=(
        Step("create_order", "orders.create", "orders.delete"),
        Step("reserve_inventory", "inventory.reserve", "inventory.release"),
        Step("charge_payment", "payment.charge", "payment.refund"),
        Step("ship_order", "shipping.schedule", "shipping.cancel"),
        # no way back, and it is the last
        Step("notify_customer", "notifications.send"),
    ),
    refusals={
        "reserve_inventory": Refusal(OutOfStock, "the shelf is empty", 0.04),
        "charge_payment": Refusal(CardDeclined, "the bank says no", 0.12),
        "ship_order": Refusal(NoCourier, "nobody goes there", 0.06),
    },
    balance=Balance(
        "every charge is shipped or refunded",
        "charge",
        ("charge_payment", "ship_order"),
    ),
    context={"cents": range(500, 20_500)},
)
