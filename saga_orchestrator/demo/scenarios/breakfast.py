"""A breakfast: a bowl, cereal, and milk, which nobody gets out again."""

from __future__ import annotations

from saga_orchestrator.core.definition import Step
from saga_orchestrator.demo.scenarios.scenario import Balance, Refusal, Scenario
from saga_orchestrator.participant.signals import StepFailed


class NoCleanBowl(StepFailed):
    """All bowls are in the sink."""


class BoxIsEmpty(StepFailed):
    """Somebody had the last cereal."""


class MilkIsSour(StepFailed):
    """It was open for too long."""


BREAKFAST = Scenario(
    name="breakfast",
    steps=(
        Step("get_bowl", "bowls.take", "bowls.put_back"),
        Step("add_cereal", "cereal.add", "cereal.put_back"),
        Step("add_milk", "milk.pour"),  # no way back, so it is the last
    ),
    refusals={
        "get_bowl": Refusal(NoCleanBowl, "all bowls are in the sink", 0.04),
        "add_cereal": Refusal(BoxIsEmpty, "the box is empty", 0.08),
        "add_milk": Refusal(MilkIsSour, "the milk is sour", 0.08),
    },
    balance=Balance(
        "every bowl on the table is a breakfast",
        "bowl",
        ("get_bowl", "add_cereal", "add_milk"),
    ),
    context={"bowls": range(1, 2)},
    unit="bowls",
)
