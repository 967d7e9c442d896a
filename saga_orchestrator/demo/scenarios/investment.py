"""An investment: money against a place in a portfolio.

Some portfolios never answer, though the money is in them. The outcome stays
unknown, so the step is undone: the portfolio is put back to what it was.
"""

from __future__ import annotations

from saga_orchestrator.core.definition import Step
from saga_orchestrator.demo.scenarios.scenario import Balance, Refusal, Scenario
from saga_orchestrator.participant.signals import StepFailed


class NotEligible(StepFailed):
    """The investor may not take part."""


class NoSlot(StepFailed):
    """The round is full."""


class PaymentDeclined(StepFailed):
    """The bank says no."""


class NotSigned(StepFailed):
    """The contract was turned down."""


INVESTMENT = Scenario(
    name="investment",
    steps=(
        Step("validate_investor", "investors.validate"),  # it changes nothing
        Step("check_slots", "slots.hold", "slots.release"),
        Step("take_payment", "payment.take", "payment.refund"),
        Step("create_documents", "documents.create", "documents.void"),
        Step("update_portfolio", "portfolio.add", "portfolio.restore"),
        # no way back, and it is the last
        Step("notify_investor", "notifications.send"),
    ),
    refusals={
        "validate_investor": Refusal(NotEligible, "the investor is unknown", 0.04),
        "check_slots": Refusal(NoSlot, "the round is full", 0.05),
        "take_payment": Refusal(PaymentDeclined, "the bank says no", 0.08),
        "create_documents": Refusal(NotSigned, "the contract is not signed", 0.06),
    },
    balance=Balance(
        "every payment is in a portfolio or refunded",
        "payment",
        ("take_payment", "update_portfolio"),
    ),
    context={"cents": range(100_000, 5_000_000), "portfolio": range(10_000_000)},
    unanswered={"update_portfolio": 0.04},
    snapshots={"update_portfolio": "portfolio"},
)
