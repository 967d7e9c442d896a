"""Eventuate's customers and orders: an order is approved, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Callable

from saga_orchestrator import SagaDefinition, Step, StepContext, StepFailed
from saga_orchestrator.testing import Outcome
from tests.scenarios.cases import own_url, played
from tests.scenarios.engines import SECONDS, Service, manager_on
from tests.scenarios.sagas import saga
from tests.scenarios.table import Case, Later, Scenario, Stage

CREDIT = {"jane": 100}


class Shop(Service):
    """Orders of customers with a credit limit.

    Attributes:
        orders: the state of each order, by its saga.
    """

    def __init__(self) -> None:
        super().__init__("shop")
        self.orders: dict[str, str] = {}

    def steps(self) -> list[Step]:
        """Return: create the order, reserve credit, approve."""
        return [
            self.step("create", self.becoming("PENDING"), self.becoming("REJECTED")),
            self.step("reserveCredit", reserve_credit),
            self.step("approve", self.becoming("APPROVED")),
        ]

    def becoming(self, state: str) -> Callable[[StepContext], None]:
        """Return what gives the order another state."""

        def become(ctx: StepContext) -> None:
            self.orders[ctx.saga_id] = state

        return become


def reserve_credit(ctx: StepContext) -> None:
    """Refuse who is unknown, or wants too much."""
    if ctx.context["customer"] not in CREDIT:
        raise StepFailed("UNKNOWN_CUSTOMER")
    if ctx.context["total"] > CREDIT[ctx.context["customer"]]:
        raise StepFailed("INSUFFICIENT_CREDIT")


async def ordered(
    stage: Stage, name: str, customer: str, total: int
) -> tuple[Shop, Outcome]:
    """Play one order."""
    shop = Shop()
    context = {"customer": customer, "total": total}
    kind = saga(*shop.steps(), context=context, handlers=[shop.handlers])
    return shop, await played(stage, kind, name)


async def approved(stage: Stage) -> None:
    """An order within the limit is approved."""
    shop, outcome = await ordered(stage, "EVT-19", "jane", 60)
    outcome.expect("completed", calls=["create", "reserveCredit", "approve"])
    assert shop.orders == {outcome.saga.id: "APPROVED"}


async def rejected(stage: Stage) -> None:
    """An order beyond it is rejected, and the saga keeps the reason."""
    shop, outcome = await ordered(stage, "EVT-20", "jane", 160)
    outcome.expect(
        "compensated",
        calls=["create", "reserveCredit: refused", "undo create"],
        reason="INSUFFICIENT_CREDIT",
    )
    assert shop.orders == {outcome.saga.id: "REJECTED"}


def end_to_end(
    id: str,  # noqa: A002 - what it is called everywhere
    customer: str,
    total: int,
    order: str,
    reason: str,
) -> Case:
    """Return an order that goes through a whole engine."""

    async def run(stage: Stage) -> None:
        shop = Shop()
        kind = SagaDefinition("order", shop.steps())
        context = {"customer": customer, "total": total}
        async with manager_on(await own_url(stage), shop.handlers) as manager:
            started = await manager.start(kind, context=context)
            ended = await manager.wait(started.id, SECONDS)
        assert shop.orders == {ended.id: order}
        assert ended.reason.endswith(reason)
        assert bool(ended.reason) == bool(reason)

    return Case(id, run)


SCENARIOS: list[Scenario] = [
    Case("EVT-19", approved),
    Case("EVT-20", rejected),
    end_to_end("EVT-21", "jane", 60, "APPROVED", ""),
    end_to_end("EVT-22", "nobody", 60, "REJECTED", "UNKNOWN_CUSTOMER"),
    end_to_end("EVT-23", "jane", 160, "REJECTED", "INSUFFICIENT_CREDIT"),
]

LATER: list[Later] = []
