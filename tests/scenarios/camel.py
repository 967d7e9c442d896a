"""Apache Camel Saga: orders on credit; manual completion; who may be called."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest

from saga_orchestrator import (
    Handlers,
    Manager,
    SagaDefinition,
    Step,
    StepContext,
    StepFailed,
)
from saga_orchestrator.errors import HandlerNotFoundError
from saga_orchestrator.testing import Given, action, operator, undo
from tests.scenarios.cases import played
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row

SECOND = dt.timedelta(seconds=1)


class Shop:
    """Orders, and the credit that they take.

    Attributes:
        credit: what is left.
        orders: those that stand, by saga.
    """

    def __init__(self) -> None:
        self.credit = 100
        self.orders: set[str] = set()
        self._handlers = Handlers("shop")
        self._handlers.step("shop.order")(self._order)
        self._handlers.compensation("shop.cancel")(self._cancel)
        self._handlers.step("shop.reserve")(self._reserve)
        self._handlers.compensation("shop.release")(self._release)

    def buys(self, amount: int) -> Given:
        """Return an order of this amount."""
        return saga(
            Step("order", "shop.order", "shop.cancel"),
            Step("credit", "shop.reserve", "shop.release"),
            step("finalize", compensation=""),
            context={"amount": amount},
            handlers=[self._handlers],
        )

    async def _order(self, ctx: StepContext) -> None:
        self.orders.add(ctx.saga_id)

    async def _cancel(self, ctx: StepContext) -> None:
        self.orders.remove(ctx.saga_id)

    async def _reserve(self, ctx: StepContext) -> int:
        amount = int(str(ctx.context["amount"]))
        if amount > self.credit:
            raise StepFailed("credit exhausted")
        self.credit -= amount
        return amount

    async def _release(self, ctx: StepContext, amount: int | None) -> None:
        self.credit += amount or 0


async def credit_exhausted(stage: Stage) -> None:
    """An order over the credit is undone; a smaller one after it is not."""
    shop = Shop()
    ends = ("completed", "completed", "compensated", "completed")
    for amount, end in zip((20, 70, 20, 5), ends, strict=True):
        outcome = await played(stage, shop.buys(amount), f"CAM-01-{amount}-{end}")
        outcome.expect(end, reason="credit exhausted" * (end == "compensated"))
    assert len(shop.orders) == 3
    assert shop.credit == 5


async def total_compensation(stage: Stage) -> None:
    """What fails at its last step leaves no order and takes no credit."""
    shop = Shop()
    for number in range(10):
        buys = shop.buys(10)
        if number % 2:
            buys = buys.when(action("finalize").refuses())
        outcome = await played(stage, buys, f"CAM-02-{number}")
        outcome.expect("compensated" if number % 2 else "completed")
    assert len(shop.orders) == 5
    assert shop.credit == 50


def nobody_completes() -> Given:
    """A step whose answer never comes, and an undo that notes what it was given."""
    manual = Handlers("manual")

    @manual.compensation("manual.undo")
    async def undo_it(ctx: StepContext) -> None:
        ctx.update({"undone": ctx.input})

    wait = Step(
        "wait",
        "do.wait",
        "manual.undo",
        input={"id": {"$ref": "context.id"}},
        timeout=SECOND / 10,
        limit=SECOND / 10,
    )
    kind = saga(wait, context={"id": "myheader"}, handlers=[manual])
    return kind.when(action("wait").defers())


async def only_what_is_registered_is_called(stage: Stage) -> None:
    """Names without a handler are refused; an action is no compensation."""
    shop = Handlers("cam")
    shop.step("cam.complete")(_nothing)
    shop.compensation("cam.compensate")(_nothing)

    def kind(action: str, compensation: str) -> SagaDefinition:
        return SagaDefinition("cam-07", [Step("step", action, compensation)])

    async def opens(kind: SagaDefinition) -> None:
        store = await stage.open_store()
        try:
            manager = Manager.open(
                store=store, handlers=[shop], definitions=[kind], engine=False
            )
            await (await manager).close()
        finally:
            await store.close()

    await opens(kind("cam.complete", "cam.compensate"))
    refused: Sequence[tuple[str, str]] = [
        ("cam.unregistered", "cam.compensate"),
        ("cam.complete", "cam.unregistered"),
        ("cam.compensate", "cam.complete"),
    ]
    for names in refused:
        with pytest.raises(HandlerNotFoundError):
            await opens(kind(*names))


async def _nothing(ctx: StepContext) -> None:
    del ctx


manual = saga(step("wait", timeout=SECOND, limit=SECOND))

SCENARIOS: list[Scenario] = [
    Case("CAM-01", credit_exhausted),
    Case("CAM-02", total_compensation),
    row(
        "CAM-03",
        saga(step("step", retry=ONCE)).when(
            action("step").errs(), undo("step").errs(times=1)
        ),
        "compensated",
        calls=["step: error", "undo step: error", "undo step"],
    ),
    row(
        "CAM-04",
        nobody_completes(),
        "compensated",
        calls=["wait: deferred", "undo wait"],
        context={"id": "myheader", "undone": {"id": "myheader"}},
        reason="its limit passed",
    ),
    row(
        "CAM-06",
        manual.when(action("wait").defers(SECOND / 2)),
        "completed",
        variant="complete",
        calls=["wait: deferred", "wait: answered"],
    ),
    row(
        "CAM-06",
        manual.when(action("wait").defers(), operator.compensates(at=SECOND / 2)),
        "compensated",
        variant="compensate",
        calls=["wait: deferred", "undo wait"],
        reason="compensate requested",
    ),
    row(
        "CAM-06",
        manual.when(action("wait").defers()),
        "compensated",
        variant="neither",
        calls=["wait: deferred", "undo wait"],
        reason="its limit passed",
    ),
    # Names of handlers are our callback addresses; none can be unregistered.
    Case("CAM-07", only_what_is_registered_is_called),
]

LATER: list[Later] = []
