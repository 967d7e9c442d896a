"""The order saga, played from scripts: the example of ``docs/testing.md``."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers import orders as sample
from handlers.orders import inventory, notifications, order, orders, payments, shipping
from saga_orchestrator.testing import action, given, operator

SERVICES = [orders, inventory, payments, shipping, notifications]
BUYER = {"customer_id": "c-1", "card": "card-gold", "country": "CH"}
BOOKS = {**BUYER, "sku": "book", "quantity": 2}


def test_a_declined_card_undoes_the_order() -> None:
    """What was done before the charge is undone, the last thing first."""
    given(order, BOOKS, handlers=SERVICES).when(
        action("charge_payment").refuses("declined", error_type="CardDeclined")
    ).expect("compensated", undone=["reserve_inventory", "create_order"])


ORDER = given(order, BOOKS, handlers=SERVICES)


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The services' own file, a fresh one for each test."""
    path = tmp_path / "shop.db"
    monkeypatch.setenv("ORDERS_DATABASE", str(path))
    sample.database.cache_clear()
    yield path
    sample.database().close()
    sample.database.cache_clear()


def query(path: Path, sql: str) -> list[Any]:
    """Return the rows of a query on the services' file."""
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return conn.execute(sql).fetchall()


def charges(database: Path) -> list[tuple[int, int]]:
    """Return (cents, refunded) of every charge there ever was."""
    return query(database, "SELECT amount_cents, refunded FROM charges")


def test_an_order_is_fulfilled(database: Path) -> None:
    """All five services do their part, on one another's outputs."""
    ORDER.expect(
        "completed",
        executed=[step.name for step in order.steps],
        outputs={"ship_order": {"tracking_number": "CH-00000001"}},
    )
    assert charges(database) == [(3_000, 0)]


def test_the_handlers_themselves_decline_a_card() -> None:
    """Without a script: this card does not pay for as much."""
    dear = {**BOOKS, "card": "card-blue", "quantity": 7}
    given(order, dear, handlers=SERVICES).expect(
        "compensated",
        calls=[
            "create_order",
            "reserve_inventory",
            "charge_payment: refused",
            "undo reserve_inventory",
            "undo create_order",
        ],
        reason="CardDeclined: card declined",
    )


def test_an_unknown_product_leaves_nothing_to_undo(database: Path) -> None:
    """The first step says no."""
    unicorn = {**BOOKS, "sku": "unicorn"}
    given(order, unicorn, handlers=SERVICES).expect(
        "compensated", calls=["create_order: refused"], reason="unknown product"
    )
    assert query(database, "SELECT * FROM orders") == []


def test_a_charge_whose_answer_is_lost_is_found_and_refunded(database: Path) -> None:
    """Nobody knows whether it happened; the undo looks it up by the action's key."""
    lost = action("charge_payment").errs_after_effect("connection reset")
    ORDER.when(lost).expect(
        "compensated",
        undone=["charge_payment", "reserve_inventory", "create_order"],
        reason="connection reset",
    )
    assert charges(database) == [(3_000, 1)]


def test_a_charge_that_succeeds_too_late_is_undone(database: Path) -> None:
    """It is a residual; an operator has it undone, and nothing is refunded twice."""
    outcome = ORDER.when(
        action("charge_payment")
        .answers_after(timedelta(minutes=10), times=1)
        .refuses("declined"),
        operator.gives_up("charge_payment", at=timedelta(seconds=20)),
        operator.undoes_residuals(),
    ).expect(
        "compensated",
        undone=[
            "charge_payment",
            "reserve_inventory",
            "create_order",
            "charge_payment",
        ],
        residuals=0,
    )
    (residual,) = outcome.record.residuals
    assert residual.output == {"charge_id": 1, "amount_cents": 3_000}
    (undo_saga,) = outcome.undo_sagas
    assert undo_saga.is_compensated
    assert charges(database) == [(3_000, 1)]


def test_two_orders_on_one_database(database: Path) -> None:
    """Equal plays have equal ids, so the second one has a seed of its own."""
    ORDER.expect("completed")
    given(order, BOOKS, handlers=SERVICES, seed=1).expect("completed")
    assert charges(database) == [(3_000, 0), (3_000, 0)]
