"""A gift: Python picks it from the shelf, Node issues the voucher that goes with it.

It looks as if all of it were Python: which language a step is done in is the
business of whoever serves it.
"""

from __future__ import annotations

from typing import Any

from saga_orchestrator import Handlers, SagaDefinition, Step, StepContext, StepFailed

shelf = Handlers("shelf")


@shelf.step("shelf.pick")
async def pick(ctx: StepContext, order: dict[str, Any]) -> dict[str, Any]:
    """Pick the gift; its price is what the voucher is worth."""
    return {"gift": order["gift"], "cents": order["cents"]}


@shelf.compensation("shelf.put_back")
async def put_back(ctx: StepContext, done: dict[str, Any] | None) -> None:
    """Put it back; there is only one shelf, so there is nothing to look for."""


@shelf.step("shelf.send")
async def send(ctx: StepContext, parcel: dict[str, Any]) -> str:
    """Send gift and voucher."""
    if parcel["country"] == "AQ":
        raise StepFailed("no shipping to 'AQ'")
    return f"sent with voucher {parcel['code']}"


gift = SagaDefinition(
    "gift",
    steps=[
        Step("pick", action="shelf.pick", compensation="shelf.put_back"),
        Step(
            "voucher",
            action="vouchers.issue",
            compensation="vouchers.void",
            input={"cents": {"$ref": "outputs.pick.cents"}},
        ),
        Step(
            "send",
            action="shelf.send",
            input={
                "code": {"$ref": "outputs.voucher.code"},
                "country": {"$ref": "context.country"},
            },
        ),
    ],
)
