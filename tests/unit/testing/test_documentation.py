"""``docs/testing.md`` is true: its example is a test, its failure was captured."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from handlers.orders import database, order
from saga_orchestrator.testing import (
    Expected,
    Line,
    Unexpected,
    action,
    given,
    operator,
)

ROOT = Path(__file__).parents[3]
NAME = Path(__file__).name
TEXT = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    """Return the fenced block after a marker."""
    _, _, after = TEXT.partition(f"{marker} -->\n")
    found = re.match(r"```\w+\n(.*?)```", after, re.DOTALL)
    assert found, f"no block after {marker!r}"
    return found[1]


def test_the_first_example_is_a_test() -> None:
    """Word for word, so that it runs."""
    path = "tests/unit/handlers/test_orders_in_the_kit.py"
    assert block(f"<!-- part of {path}") in (ROOT / path).read_text(encoding="utf-8")


def test_the_first_example_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs by itself: nothing of that file's rest is needed."""
    monkeypatch.setenv("ORDERS_DATABASE", str(tmp_path / "shop.db"))
    database.cache_clear()
    names: dict[str, Any] = {}
    exec(block("<!-- part of tests/unit/handlers/test_orders_in_the_kit.py"), names)
    (test,) = [names[name] for name in names if name.startswith("test_")]
    test()
    database().close()
    database.cache_clear()


def test_the_failure_is_a_real_one() -> None:
    """The message is the one that a wrong expectation gets."""
    refused = action("charge_payment").refuses("declined", error_type="CardDeclined")
    created = action("create_order").returns({"order_id": 1, "total_cents": 2})
    context = {"customer_id": "c-1", "sku": "book", "quantity": 2}
    context |= {"card": "card-gold", "country": "CH"}
    play = given(order, context).when(created, refused)
    with pytest.raises(Unexpected) as info:
        play.expect("compensated", undone=["create_order"])
    assert f"{info.value}\n" == block(f"<!-- captured: tests/unit/testing/{NAME}")


def functions(of: object) -> list[str]:
    """Return the names of its own public functions."""
    module = of.__module__ if isinstance(of, type) else of.__name__
    return [
        name
        for name, found in vars(of).items()
        if inspect.isfunction(found)
        and found.__module__ == module
        and not name.startswith("_")
    ]


@pytest.mark.parametrize(
    "word",
    [
        *[f"`.{name}(" for name in functions(Line)],
        *[f"`operator.{name}(" for name in functions(operator)],
        *[f"| `{key}` |" for key in Expected.__annotations__],
    ],
)
def test_every_word_is_in_a_table(word: str) -> None:
    """What the tables do not have, nobody finds."""
    assert word in TEXT
