"""The samples on real servers: each completes, and each is undone without a rest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from handlers import breakfast, investment, orders, trip
from saga_orchestrator import Manager, SagaDefinition, SagaState
from saga_orchestrator.core.payload import Json
from saga_orchestrator.ports.records import SagaRecord
from tests.unit.handlers.books import books_of, query, services_of, undone


@dataclass(frozen=True)
class Sample:
    """A sample, and what is to be seen of it.

    Attributes:
        module: where it is written.
        definition: its saga.
        context: with this the saga completes.
        change: with this it is undone.
        undone: these steps; in this order, unless all are undone at once.
        standing: SQL for what its own database holds; nothing, to begin with.
    """

    module: ModuleType
    definition: SagaDefinition
    context: Mapping[str, Json]
    change: Mapping[str, Json]
    undone: tuple[str, ...]
    standing: str


ORDERS = Sample(
    orders,
    orders.order,
    {
        "customer_id": "c-1",
        "sku": "book",
        "quantity": 2,
        "card": "card-gold",
        "country": "CH",
    },
    {"country": "AQ"},
    ("charge_payment", "reserve_inventory", "create_order"),
    "SELECT sku FROM products WHERE sku = 'book' AND stock < 1000000"
    " UNION ALL SELECT sku FROM reservations UNION ALL SELECT customer_id FROM orders"
    " UNION ALL SELECT card FROM charges WHERE NOT refunded"
    " UNION ALL SELECT country FROM shipments UNION ALL SELECT text FROM notifications",
)
TRIP = Sample(
    trip,
    trip.trip,
    {
        "customer_id": "c-1",
        "hotel": "lodge",
        "flight": "SE-100",
        "excursion": "volcano",
        "budget_cents": 100_000,
    },
    {"hotel": "hideaway", "flight": "SE-900"},  # one unknown, one refused
    ("plan_trip", "book_hotel", "book_flight", "book_excursion"),
    "SELECT name FROM offers WHERE free NOT IN (0, 1000000)"
    " UNION ALL SELECT customer_id FROM trips"
    " UNION ALL SELECT name FROM bookings WHERE NOT cancelled",
)
INVESTMENT = Sample(
    investment,
    investment.investment,
    {
        "investor_id": "ada",
        "fund": "solar",
        "amount_cents": 129_900,
        "email": "ada@example.org",
    },
    {"email": "nowhere"},
    ("update_portfolio", "issue_documents", "process_payment", "take_slot"),
    "SELECT fund FROM funds WHERE free_slots NOT IN (0, 1000000)"
    " UNION ALL SELECT investor_id FROM investors"
    " WHERE investor_id = 'ada' AND balance_cents < 1000000000"
    " UNION ALL SELECT investor_id FROM payments WHERE NOT refunded"
    " UNION ALL SELECT investor_id FROM documents WHERE NOT void"
    " UNION ALL SELECT investor_id FROM positions WHERE milliunits OR cost_cents"
    " UNION ALL SELECT text FROM letters",
)
BREAKFAST = Sample(
    breakfast,
    breakfast.breakfast,
    {"bowl": "blue bowl", "cereal": "oats", "milk": "oat milk"},
    {"milk": "goat milk"},
    ("add_cereal", "get_bowl"),
    "SELECT name FROM cupboard WHERE left < 1000000"
    " UNION ALL SELECT name FROM laid_out",
)
SAMPLES = (ORDERS, TRIP, INVESTMENT, BREAKFAST)


@pytest.fixture(autouse=True)
def databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fresh files for all samples."""
    with contextlib.ExitStack() as stack:
        for sample in SAMPLES:
            stack.enter_context(books_of(sample.module, tmp_path, monkeypatch))
        yield


@pytest.fixture(params=SAMPLES, ids=lambda sample: sample.definition.name)
def sample(request) -> Sample:
    """Each of the samples."""
    return request.param


@pytest.fixture
async def manager(postgres_url, rabbit_url):
    """A manager with all samples' services, on both servers."""
    async with Manager.open(
        store=postgres_url,
        broker=rabbit_url,
        migrate=True,
        handlers=[each for one in SAMPLES for each in services_of(one.module)],
        definitions=[one.definition for one in SAMPLES],
    ) as opened:
        yield opened


async def _ended(manager: Manager, name: str, context: object) -> SagaRecord:
    saga = await manager.start(name, context=context)
    await manager.wait(saga.id, timeout=30)
    return await manager.record(saga.id)


def _standing(sample: Sample, folder: Path) -> list[str]:
    file = folder / f"{sample.module.__name__.rpartition('.')[2]}.db"
    return sorted(name for (name,) in query(file, sample.standing))


async def test_a_sample_completes(sample, manager, tmp_path):
    """Every step is done, once, and its effects stand."""
    assert _standing(sample, tmp_path) == []
    record = await _ended(manager, sample.definition.name, sample.context)
    assert record.saga.is_completed, record.saga
    assert record.residuals == ()
    assert _standing(sample, tmp_path)


async def test_a_sample_is_undone(sample, manager, tmp_path):
    """What has an undo is undone, in reverse or all at once; nothing stands."""
    context = {**sample.context, **sample.change}
    record = await _ended(manager, sample.definition.name, context)
    assert record.saga.state is SagaState.COMPENSATED, record.saga.reason
    told = undone(record)
    if sample.definition.parallel_compensation:
        assert sorted(told) == sorted(sample.undone)
    else:
        assert told == list(sample.undone)
    assert record.residuals == ()
    assert _standing(sample, tmp_path) == []
