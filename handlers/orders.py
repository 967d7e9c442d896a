"""A sample: an order that spans five services, written as a user would.

The services keep their data in one SQLite file (``ORDERS_DATABASE``, default
``orders.db``) so that the sample needs no server. Every effect goes through
the barrier: it happens once, and never after its undo. ``README.md`` beside
this file says how to run it and how to make it fail.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field

from saga_orchestrator import (
    Handlers,
    RetryPolicy,
    SagaDefinition,
    SqliteBarrier,
    Step,
    StepContext,
    StepFailed,
)

ORDER_ID = {"$ref": "outputs.create_order.order_id"}

order = SagaDefinition(
    "order_processing",
    steps=[
        Step("create_order", action="orders.create", compensation="orders.delete"),
        Step(
            "reserve_inventory",
            action="inventory.reserve",
            compensation="inventory.release",
            input={
                "order_id": ORDER_ID,
                "sku": {"$ref": "context.sku"},
                "quantity": {"$ref": "context.quantity"},
            },
        ),
        Step(
            "charge_payment",
            action="payment.charge",
            compensation="payment.refund",
            input={
                "order_id": ORDER_ID,
                "card": {"$ref": "context.card"},
                "amount_cents": {"$ref": "outputs.create_order.total_cents"},
            },
            retry=RetryPolicy(max_attempts=5, non_retryable=("CardDeclined",)),
            timeout=timedelta(seconds=30),
        ),
        Step(
            "ship_order",
            action="shipping.schedule",
            compensation="shipping.cancel",
            input={"order_id": ORDER_ID, "country": {"$ref": "context.country"}},
        ),
        Step(
            "notify_customer",
            action="notifications.send",
            input={
                "customer_id": {"$ref": "context.customer_id"},
                "tracking_number": {"$ref": "outputs.ship_order.tracking_number"},
            },
        ),
    ],
)

orders = Handlers("orders")
inventory = Handlers("inventory")
payments = Handlers("payments")
shipping = Handlers("shipping")
notifications = Handlers("notifications")

# The shop: what it sells (cents, in stock), which cards pay how much, where to.
PRODUCTS = {
    "book": (1_500, 1_000_000),
    "lamp": (4_900, 1_000_000),
    "piano": (990_000, 1),
}
CARD_LIMITS = {"card-gold": 2_000_000, "card-blue": 10_000}
COUNTRIES = frozenset({"CH", "DE", "FR", "IT"})

SCHEMA = """
CREATE TABLE IF NOT EXISTS products (
    sku TEXT PRIMARY KEY, price_cents INTEGER NOT NULL,
    stock INTEGER NOT NULL CHECK (stock >= 0));
CREATE TABLE IF NOT EXISTS orders (
    order_id INTEGER PRIMARY KEY, action_key TEXT NOT NULL UNIQUE,
    customer_id TEXT NOT NULL, total_cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS reservations (
    reservation_id INTEGER PRIMARY KEY, action_key TEXT NOT NULL UNIQUE,
    order_id INTEGER NOT NULL, sku TEXT NOT NULL, quantity INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS charges (
    charge_id INTEGER PRIMARY KEY, action_key TEXT NOT NULL UNIQUE,
    order_id INTEGER NOT NULL, card TEXT NOT NULL, amount_cents INTEGER NOT NULL,
    refunded INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS shipments (
    shipment_id INTEGER PRIMARY KEY, action_key TEXT NOT NULL UNIQUE,
    order_id INTEGER NOT NULL, country TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notifications (
    notification_id INTEGER PRIMARY KEY, customer_id TEXT NOT NULL,
    text TEXT NOT NULL);
"""


@functools.cache
def database() -> SqliteBarrier:
    """Open the file on first use; return the barrier that guards it."""
    path = Path(os.environ.get("ORDERS_DATABASE", "orders.db"))
    with sqlite3.connect(path, timeout=30) as db:
        db.executescript(SCHEMA)
        db.executemany(
            "INSERT OR IGNORE INTO products VALUES (?, ?, ?)",
            [(sku, *numbers) for sku, numbers in PRODUCTS.items()],
        )
    db.close()
    return SqliteBarrier(path)


class CardDeclined(StepFailed):
    """The bank said no. Trying again would not help."""


class OrderRequest(BaseModel):
    """What the saga is started with: its context."""

    customer_id: str
    sku: str
    quantity: int = Field(gt=0)
    card: str
    country: str


class Order(BaseModel):
    """An order, and what it costs."""

    order_id: int
    total_cents: int


class ReservationRequest(BaseModel):
    """Goods to set aside."""

    order_id: int
    sku: str
    quantity: int


class Reservation(BaseModel):
    """Goods set aside."""

    reservation_id: int


class ChargeRequest(BaseModel):
    """Money to take."""

    order_id: int
    card: str
    amount_cents: int


class Charge(BaseModel):
    """Money taken."""

    charge_id: int
    amount_cents: int


class ShipmentRequest(BaseModel):
    """Where the goods go."""

    order_id: int
    country: str


class Shipment(BaseModel):
    """Goods on their way."""

    tracking_number: str


class Message(BaseModel):
    """What a customer is told."""

    customer_id: str
    tracking_number: str


@orders.step("orders.create")
async def create_order(ctx: StepContext, request: OrderRequest) -> Order:
    """Write the order at today's price."""

    def effect(db: sqlite3.Connection) -> Order:
        row = db.execute(
            "SELECT price_cents FROM products WHERE sku = ?", (request.sku,)
        ).fetchone()
        if row is None:
            raise StepFailed(f"unknown product {request.sku!r}")
        total = row[0] * request.quantity
        made = db.execute(
            "INSERT INTO orders (action_key, customer_id, total_cents)"
            " VALUES (?, ?, ?) RETURNING order_id",
            (ctx.idempotency_key, request.customer_id, total),
        ).fetchone()
        return Order(order_id=made[0], total_cents=total)

    return await database().run(ctx, effect)


@orders.compensation("orders.delete")
async def delete_order(ctx: StepContext, done: Order | None) -> None:
    """Remove the order; by the action's key, for nobody may know its number."""

    def effect(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM orders WHERE action_key = ?", (ctx.action_key,))

    await database().run(ctx, effect)


@inventory.step("inventory.reserve")
async def reserve(ctx: StepContext, request: ReservationRequest) -> Reservation:
    """Take the goods out of stock."""

    def effect(db: sqlite3.Connection) -> Reservation:
        taken = db.execute(
            "UPDATE products SET stock = stock - ? WHERE sku = ? AND stock >= ?",
            (request.quantity, request.sku, request.quantity),
        )
        if taken.rowcount == 0:
            raise StepFailed(f"not enough {request.sku!r} in stock")
        made = db.execute(
            "INSERT INTO reservations (action_key, order_id, sku, quantity)"
            " VALUES (?, ?, ?, ?) RETURNING reservation_id",
            (ctx.idempotency_key, request.order_id, request.sku, request.quantity),
        ).fetchone()
        return Reservation(reservation_id=made[0])

    return await database().run(ctx, effect)


@inventory.compensation("inventory.release")
async def release(ctx: StepContext, done: Reservation | None) -> None:
    """Put the goods back."""

    def effect(db: sqlite3.Connection) -> None:
        sku, quantity = db.execute(
            "DELETE FROM reservations WHERE action_key = ? RETURNING sku, quantity",
            (ctx.action_key,),
        ).fetchone()
        db.execute(
            "UPDATE products SET stock = stock + ? WHERE sku = ?", (quantity, sku)
        )

    await database().run(ctx, effect)


@payments.step("payment.charge")
async def charge(ctx: StepContext, request: ChargeRequest) -> Charge:
    """Take the money, where the card allows it."""

    def effect(db: sqlite3.Connection) -> Charge:
        if request.amount_cents > CARD_LIMITS.get(request.card, 0):
            raise CardDeclined("card declined")
        made = db.execute(
            "INSERT INTO charges (action_key, order_id, card, amount_cents)"
            " VALUES (?, ?, ?, ?) RETURNING charge_id",
            (ctx.idempotency_key, request.order_id, request.card, request.amount_cents),
        ).fetchone()
        return Charge(charge_id=made[0], amount_cents=request.amount_cents)

    return await database().run(ctx, effect)


@payments.compensation("payment.refund")
async def refund(ctx: StepContext, done: Charge | None) -> None:
    """Give the money back; the books keep both."""

    def effect(db: sqlite3.Connection) -> None:
        db.execute(
            "UPDATE charges SET refunded = 1 WHERE action_key = ?", (ctx.action_key,)
        )
        ctx.logger.info("refunded", charge=done and done.charge_id)

    await database().run(ctx, effect)


# An ordinary function does as well: it runs in a thread.


@shipping.step("shipping.schedule")
def schedule(ctx: StepContext, request: ShipmentRequest) -> Shipment:
    """Book the parcel."""

    def effect(db: sqlite3.Connection) -> Shipment:
        if request.country not in COUNTRIES:
            raise StepFailed(f"no shipping to {request.country!r}")
        made = db.execute(
            "INSERT INTO shipments (action_key, order_id, country)"
            " VALUES (?, ?, ?) RETURNING shipment_id",
            (ctx.idempotency_key, request.order_id, request.country),
        ).fetchone()
        return Shipment(tracking_number=f"{request.country}-{made[0]:08}")

    return database().run_sync(ctx, effect)


@shipping.compensation("shipping.cancel")
def cancel(ctx: StepContext, done: Shipment | None) -> None:
    """Cancel the parcel."""

    def effect(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM shipments WHERE action_key = ?", (ctx.action_key,))

    database().run_sync(ctx, effect)


@notifications.step("notifications.send")
async def send(ctx: StepContext, message: Message) -> None:
    """Tell the customer. There is no way back, and nothing comes after it."""

    def effect(db: sqlite3.Connection) -> None:
        db.execute(
            "INSERT INTO notifications (customer_id, text) VALUES (?, ?)",
            (message.customer_id, f"on its way: {message.tracking_number}"),
        )

    await database().run(ctx, effect)
