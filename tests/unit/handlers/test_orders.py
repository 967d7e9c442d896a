"""The sample services: their effects, their refusals, their undos."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers import orders as sample
from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.core.references import lookup, resolve
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.executor import execute
from saga_orchestrator.participant.handlers import Handler
from saga_orchestrator.participant.threads import HandlerThreads
from tests.support.participants import StillClock, action, undo

SERVICES = (
    sample.orders,
    sample.inventory,
    sample.payments,
    sample.shipping,
    sample.notifications,
)
STEPS = {step.name: step for step in sample.order.steps}
CONTEXT = {
    "customer_id": "c-1",
    "sku": "book",
    "quantity": 2,
    "card": "card-gold",
    "country": "CH",
}


def handler_of(direction: Direction, name: str) -> Handler:
    """Return the one handler that a name has among the services."""
    (handler,) = filter(None, (each.get(direction, name) for each in SERVICES))
    return handler


class Order:
    """One saga's steps, run by hand."""

    def __init__(self, **context: Any) -> None:
        self.context = {**CONTEXT, **context}
        self.outputs: dict[str, Any] = {}
        self.threads = HandlerThreads()

    async def do(self, name: str) -> Reply:
        """Run a step's action."""
        step = STEPS[name]
        argument = (
            self.context
            if step.input is None
            else resolve(
                step.input, lambda path: lookup(path, self.context, self.outputs)
            )
        )
        command = action(argument, step=name, action=step.action)
        handler = handler_of(Direction.ACTION, step.action)
        reply = await execute(
            command, handler, clock=StillClock(), threads=self.threads
        )
        if reply.answer is Answer.SUCCEEDED:
            self.outputs[name] = reply.output
        return reply

    async def undo(self, name: str, *, knows: bool = True) -> Reply:
        """Run a step's compensation; without its output where nobody knows it."""
        step = STEPS[name]
        output = self.outputs.get(name) if knows else None
        command = undo(output, step=name, action=step.compensation)
        handler = handler_of(Direction.COMPENSATION, step.compensation)
        return await execute(command, handler, clock=StillClock(), threads=self.threads)

    async def do_until(self, last: str) -> Reply:
        """Run the actions up to and with ``last``; return its answer."""
        for name in STEPS:
            reply = await self.do(name)
            if name == last:
                return reply
            assert reply.answer is Answer.SUCCEEDED
        raise AssertionError(last)


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The services' own file."""
    path = tmp_path / "shop.db"
    monkeypatch.setenv("ORDERS_DATABASE", str(path))
    sample.database.cache_clear()
    yield path
    sample.database().close()
    sample.database.cache_clear()


def query(path: Path, sql: str) -> list[Any]:
    """Return the rows of a query on the services' file."""
    conn = sqlite3.connect(path)
    try:
        return conn.execute(sql).fetchall()
    finally:
        conn.close()


def books(path: Path) -> dict[str, Any]:
    """Return what stands in the services' tables."""
    ((stock,),) = query(path, "SELECT stock FROM products WHERE sku = 'book'")
    return {
        "stock": stock,
        "orders": query(path, "SELECT customer_id, total_cents FROM orders"),
        "reserved": query(path, "SELECT sku, quantity FROM reservations"),
        "charged": query(path, "SELECT amount_cents FROM charges WHERE NOT refunded"),
        "shipped": query(path, "SELECT country FROM shipments"),
        "told": query(path, "SELECT text FROM notifications"),
    }


EMPTY = {
    "stock": 1_000_000,
    "orders": [],
    "reserved": [],
    "charged": [],
    "shipped": [],
    "told": [],
}


def test_every_step_has_its_handlers() -> None:
    """Actions and undos all have one, and the undos take an unknown output."""
    for step in STEPS.values():
        assert handler_of(Direction.ACTION, step.action).action == step.action
        if step.compensation:
            assert handler_of(Direction.COMPENSATION, step.compensation).accepts_none


async def test_an_order_is_fulfilled(database: Path) -> None:
    """All steps run on one another's outputs."""
    reply = await Order().do_until("notify_customer")
    assert reply.answer is Answer.SUCCEEDED
    assert books(database) == {
        "stock": 999_998,
        "orders": [("c-1", 3_000)],
        "reserved": [("book", 2)],
        "charged": [(3_000,)],
        "shipped": [("CH",)],
        "told": [("on its way: CH-00000001",)],
    }


@pytest.mark.parametrize("knows", [True, False])
async def test_undoing_leaves_nothing(database: Path, knows: bool) -> None:
    """The undos in reverse restore the books, also where no output is known."""
    order = Order()
    await order.do_until("ship_order")
    for name in reversed(order.outputs):
        assert (await order.undo(name, knows=knows)).answer is Answer.SUCCEEDED
    assert books(database) == EMPTY


async def test_everything_twice_is_as_good_as_once(database: Path) -> None:
    """Each action and each undo repeated: no effect the second time."""
    order = Order()
    for name in STEPS:
        first, second = await order.do(name), await order.do(name)
        assert first.output == second.output
        assert (first.effect, second.effect) == (True, False)
    done = books(database)
    assert done["stock"] == 999_998
    for name in [name for name, step in STEPS.items() if step.compensation][::-1]:
        first, second = await order.undo(name), await order.undo(name)
        assert (first.effect, second.effect) == (True, False)
    assert books(database) == {**EMPTY, "told": done["told"]}


async def test_an_undo_before_its_action_keeps_it_out(database: Path) -> None:
    """The late action answers superseded, and nothing stands."""
    order = Order()
    assert not (await order.undo("create_order")).effect
    assert (await order.do("create_order")).answer is Answer.SUPERSEDED
    assert books(database) == EMPTY


@pytest.mark.parametrize(
    ("context", "step", "error_type", "reason"),
    [
        ({"sku": "unicorn"}, "create_order", "StepFailed", "unknown product"),
        ({"quantity": 0}, "create_order", "InvalidInput", "quantity"),
        ({"sku": "piano", "quantity": 2}, "reserve_inventory", "StepFailed", "stock"),
        (
            {"card": "card-blue", "quantity": 7},
            "charge_payment",
            "CardDeclined",
            "card declined",
        ),
        ({"country": "AQ"}, "ship_order", "StepFailed", "no shipping"),
    ],
)
async def test_the_context_decides_what_is_refused(
    database: Path, context: dict[str, Any], step: str, error_type: str, reason: str
) -> None:
    """A refusal is a definite no: not retried, and without effect."""
    order = Order(**context)
    reply = await order.do_until(step)
    assert (reply.answer, reply.retryable) == (Answer.REFUSED, False)
    assert reply.error_type == error_type
    assert reason in reply.error
    rows = query(database, "SELECT step FROM saga_barrier") if order.outputs else []
    assert (step,) not in rows
