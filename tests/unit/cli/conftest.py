"""A working directory of its own, and the `saga` command in this process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import structlog
from typer.testing import CliRunner, Result

from saga_orchestrator.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHOP = '''
"""Definitions and handlers of a user."""
from saga_orchestrator import Handlers, SagaDefinition, Step

empty = SagaDefinition("empty")
order = SagaDefinition("order", steps=[Step("pay", action="payment.charge")])
unfit = SagaDefinition("unfit", steps=[Step("pay", action="payment.refuse")])
both = [empty, order]
number = 7
payments = Handlers("payments")


@payments.step("payment.charge")
async def charge(ctx):
    """Nobody calls it."""
'''


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder with a module `shop`; log to the usual place after."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    yield tmp_path
    structlog.reset_defaults()


@pytest.fixture
def saga() -> Callable[..., Result]:
    """Run the `saga` command with these arguments."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=stdin, prog_name="saga")

    return run


@pytest.fixture
def store(saga: Callable[..., Result]) -> None:
    """Give the working directory a store."""
    assert saga("migrate").exit_code == 0
