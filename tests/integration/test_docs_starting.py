"""docs/starting.md is a program, and it does what its text says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from saga_orchestrator import Handlers, Manager, StepContext
from saga_orchestrator.ports.store import SagaFilter
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer

PAGE = Path(__file__).parents[2] / "docs" / "starting.md"

payments = Handlers("payments")


@payments.step("payment.charge")
async def charge(ctx: StepContext, order: dict) -> dict:
    """Charge whoever ordered."""
    return {"charged": order["customer_id"]}


def blocks(language: str) -> list[str]:
    """Return the page's blocks in a language."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def shop(postgres_server: PostgresServer, postgres_url: str) -> Iterator[str]:
    """The database of the shop, and its role."""
    name = postgres_url.rpartition("/")[2]
    postgres_server.execute("CREATE ROLE shop")
    yield name
    postgres_server.execute("DROP OWNED BY shop", name)
    postgres_server.execute("DROP ROLE shop")


async def test_the_page_runs(
    postgres_server: PostgresServer, postgres_url: str, shop: str
) -> None:
    """Each block through psql or Python: two orders, two sagas, none of the third."""
    page: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, str(PAGE), "exec"), page)
    async with Manager.open(
        store=postgres_url,
        migrate=True,
        handlers=[payments],
        definitions=[page["order"]],
    ) as manager:
        shown = [postgres_server.execute(block, shop) for block in blocks("sql")]
        await page["place_order"](manager, postgres_url, "order-1", "c-9")

        async def both() -> bool:
            sagas = await manager.store.find(SagaFilter())
            return [saga.is_completed for saga in sagas] == [True, True]

        await eventually(both)
        sagas = await manager.store.find(SagaFilter())
        assert sorted(saga.key or "" for saga in sagas) == ["order-1", "order-4711"]
        (of_sql,) = [saga for saga in sagas if saga.key == "order-4711"]
        assert of_sql.id in shown[1]
        outputs = (await manager.get(of_sql.id)).outputs
        assert outputs["pay"] == {"charged": "c-1"}
    orders = postgres_server.execute("SELECT id FROM orders ORDER BY id", shop)
    assert orders.split() == ["order-1", "order-4711"]

    # The role may do what the page says, and no more.
    as_shop = "SET ROLE shop; SELECT "
    assert postgres_server.execute(f"{as_shop} saga_start('order_processing')", shop)
    with pytest.raises(RuntimeError, match="permission denied"):
        postgres_server.execute(f"{as_shop} count(*) FROM saga_starts", shop)
