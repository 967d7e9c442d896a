"""A sample: an investment, whose undo works from a snapshot, not from today.

The price of a fund moves, and other investments change the same portfolio, so
what an undo finds is not what its action left. What it needs is written when
the action runs, in the same transaction. The services keep their data in one
SQLite file (``INVESTMENT_DATABASE``, default ``investment.db``); every effect
goes through the barrier: it happens once, and never after its undo.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from pathlib import Path

from pydantic import BaseModel, Field

from saga_orchestrator import (
    Handlers,
    SagaDefinition,
    SqliteBarrier,
    Step,
    StepContext,
    StepFailed,
)

# No step has an input of its own, so each is given the saga's context.
investment = SagaDefinition(
    "investment",
    steps=[
        Step("validate_investor", "investors.validate"),
        Step("take_slot", "slots.take", "slots.give_back"),
        Step("process_payment", "treasury.debit", "treasury.refund"),
        Step("issue_documents", "documents.issue", "documents.void"),
        Step("update_portfolio", "portfolios.buy", "portfolios.take_out"),
        Step("notify_investor", "letters.send"),
    ],
)

investors = Handlers("investors")
slots = Handlers("slots")
treasury = Handlers("treasury")
documents = Handlers("documents")
portfolios = Handlers("portfolios")
letters = Handlers("letters")

# Who may invest, and with how many cents; what in: the price of a unit in cents,
# and how many more investments are taken.
INVESTORS = {"ada": (True, 1_000_000_000), "ben": (True, 5_000), "eve": (False, 0)}
FUNDS = {"solar": (1_299, 1_000_000), "wind": (870, 1_000_000), "closed": (1_000, 0)}

SCHEMA = """
CREATE TABLE IF NOT EXISTS investors (
    investor_id TEXT PRIMARY KEY, accredited INTEGER NOT NULL,
    balance_cents INTEGER NOT NULL CHECK (balance_cents >= 0));
CREATE TABLE IF NOT EXISTS funds (
    fund TEXT PRIMARY KEY, price_cents INTEGER NOT NULL CHECK (price_cents > 0),
    free_slots INTEGER NOT NULL CHECK (free_slots >= 0));
CREATE TABLE IF NOT EXISTS payments (
    action_key TEXT PRIMARY KEY, investor_id TEXT NOT NULL,
    amount_cents INTEGER NOT NULL, refunded INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS documents (
    document_id INTEGER PRIMARY KEY, action_key TEXT NOT NULL UNIQUE,
    investor_id TEXT NOT NULL, fund TEXT NOT NULL, amount_cents INTEGER NOT NULL,
    void INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS positions (
    investor_id TEXT NOT NULL, fund TEXT NOT NULL,
    milliunits INTEGER NOT NULL, cost_cents INTEGER NOT NULL,
    PRIMARY KEY (investor_id, fund));
CREATE TABLE IF NOT EXISTS snapshots (
    action_key TEXT PRIMARY KEY, investor_id TEXT NOT NULL, fund TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    milliunits_before INTEGER NOT NULL, milliunits_after INTEGER NOT NULL,
    cost_cents_before INTEGER NOT NULL, cost_cents_after INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS letters (
    letter_id INTEGER PRIMARY KEY, email TEXT NOT NULL, text TEXT NOT NULL);
"""


@functools.cache
def database() -> SqliteBarrier:
    """Open the file on first use; return the barrier that guards it."""
    path = Path(os.environ.get("INVESTMENT_DATABASE", "investment.db"))
    with sqlite3.connect(path, timeout=30) as db:
        db.executescript(SCHEMA)
        for table, rows in (("investors", INVESTORS), ("funds", FUNDS)):
            db.executemany(
                f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)",  # noqa: S608 - ours
                [(name, *numbers) for name, numbers in rows.items()],
            )
    db.close()
    return SqliteBarrier(path)


class PaymentDeclined(StepFailed):
    """There is not enough money."""


class SoldMeanwhile(StepFailed):
    """What has to be taken out of the portfolio is no longer in it."""


class Investment(BaseModel):
    """What the saga is started with: its context."""

    investor_id: str
    fund: str
    amount_cents: int = Field(gt=0)
    email: str


class Document(BaseModel):
    """A contract."""

    document_id: int


class Purchase(BaseModel):
    """Thousandths of a unit of the fund, and the price of a unit."""

    milliunits: int
    price_cents: int


@investors.step("investors.validate")
async def validate(ctx: StepContext, request: Investment) -> None:
    """Look the investor up. It changes nothing, so there is nothing to undo."""

    def effect(db: sqlite3.Connection) -> None:
        sql = "SELECT 1 FROM investors WHERE investor_id = ? AND accredited"
        if db.execute(sql, (request.investor_id,)).fetchone() is None:
            raise StepFailed(f"{request.investor_id!r} may not invest")

    await database().run(ctx, effect)


@slots.step("slots.take")
async def take_slot(ctx: StepContext, request: Investment) -> None:
    """Take a slot: to find one free would not keep it so until it is needed."""

    def effect(db: sqlite3.Connection) -> None:
        taken = db.execute(
            "UPDATE funds SET free_slots = free_slots - 1"
            " WHERE fund = ? AND free_slots > 0",
            (request.fund,),
        )
        if taken.rowcount == 0:
            raise StepFailed(f"fund {request.fund!r} takes no more investments")

    await database().run(ctx, effect)


@slots.compensation("slots.give_back")
async def give_back_slot(ctx: StepContext) -> None:
    """Give the slot back; the barrier knows that it was taken."""
    fund = ctx.input["fund"]  # what the action was given

    def effect(db: sqlite3.Connection) -> None:
        sql = "UPDATE funds SET free_slots = free_slots + 1 WHERE fund = ?"
        db.execute(sql, (fund,))

    await database().run(ctx, effect)


@treasury.step("treasury.debit")
async def debit(ctx: StepContext, request: Investment) -> None:
    """Take the money from the investor's account."""
    payment = {"key": ctx.idempotency_key, **request.model_dump()}

    def effect(db: sqlite3.Connection) -> None:
        taken = db.execute(
            "UPDATE investors SET balance_cents = balance_cents - :amount_cents"
            " WHERE investor_id = :investor_id AND balance_cents >= :amount_cents",
            payment,
        )
        if taken.rowcount == 0:
            raise PaymentDeclined("payment declined")
        db.execute(
            "INSERT INTO payments (action_key, investor_id, amount_cents)"
            " VALUES (:key, :investor_id, :amount_cents)",
            payment,
        )

    await database().run(ctx, effect)


@treasury.compensation("treasury.refund")
async def refund(ctx: StepContext) -> None:
    """Pay back what was paid, whatever it would buy today; the books keep both."""

    def effect(db: sqlite3.Connection) -> None:
        paid = db.execute(
            "UPDATE payments SET refunded = 1 WHERE action_key = ?"
            " RETURNING amount_cents, investor_id",
            (ctx.action_key,),
        ).fetchone()
        db.execute(
            "UPDATE investors SET balance_cents = balance_cents + ?"
            " WHERE investor_id = ?",
            paid,
        )

    await database().run(ctx, effect)


@documents.step("documents.issue")
async def issue(ctx: StepContext, request: Investment) -> Document:
    """Draw up the contract."""
    contract = {"key": ctx.idempotency_key, **request.model_dump()}

    def effect(db: sqlite3.Connection) -> Document:
        made = db.execute(
            "INSERT INTO documents (action_key, investor_id, fund, amount_cents)"
            " VALUES (:key, :investor_id, :fund, :amount_cents) RETURNING document_id",
            contract,
        ).fetchone()
        return Document(document_id=made[0])

    return await database().run(ctx, effect)


@documents.compensation("documents.void")
async def void(ctx: StepContext) -> None:
    """Mark the contract void; one that was issued is never deleted."""

    def effect(db: sqlite3.Connection) -> None:
        sql = "UPDATE documents SET void = 1 WHERE action_key = ?"
        db.execute(sql, (ctx.action_key,))

    await database().run(ctx, effect)


@portfolios.step("portfolios.buy")
async def buy(ctx: StepContext, request: Investment) -> Purchase:
    """Buy units at the price of this moment, and keep what was before and after."""
    holding = (request.investor_id, request.fund)

    def effect(db: sqlite3.Connection) -> Purchase:
        (price,) = db.execute(
            "SELECT price_cents FROM funds WHERE fund = ?", (request.fund,)
        ).fetchone()
        units, cost = db.execute(
            "SELECT milliunits, cost_cents FROM positions"
            " WHERE investor_id = ? AND fund = ?",
            holding,
        ).fetchone() or (0, 0)
        bought = request.amount_cents * 1000 // price
        after = (units + bought, cost + request.amount_cents)
        db.execute("REPLACE INTO positions VALUES (?, ?, ?, ?)", (*holding, *after))
        db.execute(
            "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (ctx.idempotency_key, *holding, price, units, after[0], cost, after[1]),
        )
        return Purchase(milliunits=bought, price_cents=price)

    return await database().run(ctx, effect)


@portfolios.compensation("portfolios.take_out")
async def take_out(ctx: StepContext) -> None:
    """Take out what was put in: the difference that the snapshot shows.

    Not the amount at today's price: that is another number of units, for the
    price has moved. And not back to the units from before: that would wipe
    out the investments that others put on top since. As only differences are
    added and taken away, the undos of many may come in any order.
    """

    def effect(db: sqlite3.Connection) -> None:
        taken_out = db.execute(
            "UPDATE positions SET"
            " milliunits = milliunits - (milliunits_after - milliunits_before),"
            " cost_cents = cost_cents - (cost_cents_after - cost_cents_before)"
            " FROM snapshots WHERE action_key = ?"
            " AND positions.investor_id = snapshots.investor_id"
            " AND positions.fund = snapshots.fund"
            " AND milliunits >= milliunits_after - milliunits_before",
            (ctx.action_key,),
        )
        if taken_out.rowcount == 0:
            # No undo can be right here: the saga stops as failed, before the
            # refund, and a person looks.
            raise SoldMeanwhile("the units were sold meanwhile")

    await database().run(ctx, effect)


@letters.step("letters.send")
async def send(ctx: StepContext, request: Investment) -> None:
    """Tell the investor. There is no way back, and nothing comes after it."""
    bought = ctx.outputs["update_portfolio"]["milliunits"]  # the step before

    def effect(db: sqlite3.Connection) -> None:
        if "@" not in request.email:
            raise StepFailed(f"{request.email!r} is no address")
        letter = (request.email, f"you hold {bought / 1000} more of {request.fund}")
        db.execute("INSERT INTO letters (email, text) VALUES (?, ?)", letter)

    await database().run(ctx, effect)
