"""The investment: what was put in is taken out, whatever happened meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers import investment as sample
from saga_orchestrator import Manager
from tests.support.participants import action, context_of, undo
from tests.unit.handlers.books import books_of, ended, query, services_of, undone

CONTEXT = {
    "investor_id": "ada",
    "fund": "solar",
    "amount_cents": 129_900,
    "email": "ada@example.org",
}
Handler = Callable[..., Awaitable[Any]]
SAGAS = ("01J00000000000000000000001", "01J00000000000000000000002")


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The services' own file."""
    with books_of(sample, tmp_path, monkeypatch) as path:
        yield path


def books(path: Path) -> dict[str, Any]:
    """Return what stands in the services' tables."""
    ((balance,),) = query(
        path, "SELECT balance_cents FROM investors WHERE investor_id = 'ada'"
    )
    ((free,),) = query(path, "SELECT free_slots FROM funds WHERE fund = 'solar'")
    contracts = query(path, "SELECT amount_cents FROM documents WHERE NOT void")
    return {
        "spent": 1_000_000_000 - balance,
        "slots": 1_000_000 - free,
        "paid": query(path, "SELECT amount_cents FROM payments WHERE NOT refunded"),
        "contracts": contracts,
        "holds": holdings(path),
        "told": query(path, "SELECT text FROM letters"),
    }


def holdings(path: Path) -> list[tuple[int, int]]:
    """Return thousandths of a unit and cents of each position that is not empty."""
    sql = "SELECT milliunits, cost_cents FROM positions WHERE milliunits OR cost_cents"
    return query(path, sql)


EMPTY = {"spent": 0, "slots": 0, "paid": [], "contracts": [], "holds": [], "told": []}


async def buy(saga_id: str, amount_cents: int) -> None:
    """Run a saga's purchase."""
    request = sample.Investment(**{**CONTEXT, "amount_cents": amount_cents})
    await sample.buy(context_of(action(saga_id=saga_id)), request)


async def take_out(saga_id: str) -> None:
    """Run its undo; nobody knows whether the purchase happened."""
    await sample.take_out(context_of(undo(saga_id=saga_id)))


async def test_an_investment_is_made(database: Path) -> None:
    """Paid, in the books, in the portfolio at the price of the moment, and told."""
    record = await ended(sample, sample.investment, CONTEXT)
    assert record.saga.is_completed
    assert books(database) == {
        "spent": 129_900,
        "slots": 1,
        "paid": [(129_900,)],
        "contracts": [(129_900,)],
        "holds": [(100_000, 129_900)],
        "told": [("you hold 100.0 more of solar",)],
    }


ALL = ["update_portfolio", "issue_documents", "process_payment", "take_slot"]


@pytest.mark.parametrize(
    ("context", "reason", "in_this_order"),
    [
        ({"investor_id": "eve"}, "'eve' may not invest", []),
        ({"fund": "closed"}, "takes no more investments", []),
        ({"investor_id": "ben"}, "PaymentDeclined", ["take_slot"]),
        ({"email": "nowhere"}, "'nowhere' is no address", ALL),
    ],
)
async def test_what_was_done_is_undone(
    database: Path, context: dict[str, str], reason: str, in_this_order: list[str]
) -> None:
    """In reverse; a check has no undo, and the books keep what is void."""
    record = await ended(sample, sample.investment, {**CONTEXT, **context})
    assert record.saga.is_compensated
    assert reason in record.saga.reason
    assert undone(record) == in_this_order
    assert books(database) == EMPTY
    kept = query(
        database, "SELECT (SELECT sum(refunded) FROM payments), void FROM documents"
    )
    assert kept == ([(1, 1)] if in_this_order == ALL else [])


@pytest.mark.parametrize("order", [SAGAS, SAGAS[::-1]])
async def test_two_investments_interleave(
    database: Path, order: tuple[str, str]
) -> None:
    """Whichever is undone first, the other one stays; the price may move."""
    price = "UPDATE funds SET price_cents = {} WHERE fund = 'solar'"
    await buy(SAGAS[0], 129_900)
    query(database, price.format(2_000))
    await buy(SAGAS[1], 100_000)
    query(database, price.format(10))
    assert holdings(database) == [(150_000, 229_900)]
    await take_out(order[0])
    left = {SAGAS[0]: (100_000, 129_900), SAGAS[1]: (50_000, 100_000)}
    assert holdings(database) == [left[order[1]]]
    await take_out(order[1])
    assert holdings(database) == []


async def test_what_was_sold_is_not_taken_out(database: Path) -> None:
    """The undo refuses, and the saga stops for a person, with nothing refunded."""
    async with Manager.open(handlers=services_of(sample)) as manager:
        saga = await manager.start(sample.investment, context=CONTEXT)
        assert (await manager.wait(saga.id, timeout=30)).is_completed
        query(database, "UPDATE positions SET milliunits = 1")
        await manager.compensate(saga.id, reason="withdrawn", force=True)
        saga = await manager.wait(saga.id, timeout=30)
    assert saga.is_failed
    assert "SoldMeanwhile" in saga.reason
    stands = books(database)
    assert (stands["holds"], stands["paid"]) == ([(1, 129_900)], [(129_900,)])


@pytest.mark.parametrize(
    ("act", "take_back"),
    [
        (sample.take_slot, sample.give_back_slot),
        (sample.debit, sample.refund),
        (sample.issue, sample.void),
        (sample.buy, sample.take_out),
    ],
)
async def test_twice_is_as_good_as_once(
    database: Path, act: Handler, take_back: Handler
) -> None:
    """An action or an undo repeated: no effect the second time."""
    request = sample.Investment(**CONTEXT)
    output = await act(context_of(action(CONTEXT)), request)
    done = books(database)
    assert done != EMPTY
    assert await act(context_of(action(CONTEXT)), request) == output
    assert books(database) == done
    for _ in range(2):
        await take_back(context_of(undo(input=CONTEXT)))
        assert books(database) == EMPTY
