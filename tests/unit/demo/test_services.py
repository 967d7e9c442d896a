"""The demo's handlers: what they do to the ledger, whatever the scenario."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator.core.states import Direction
from saga_orchestrator.demo.effects import Effects, create_effects, read_effects
from saga_orchestrator.demo.faults import Fate, fate_of, is_refused, is_unanswered
from saga_orchestrator.demo.scenarios import SCENARIOS, Scenario
from saga_orchestrator.demo.services import Services
from saga_orchestrator.participant.signals import StepFailed
from tests.support.participants import StillClock, action, context_of, undo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    from saga_orchestrator.core.commands import Command
    from saga_orchestrator.core.payload import Json

SEED = 7
DO, UNDO = Direction.ACTION, Direction.COMPENSATION
TRIP, INVESTMENT = SCENARIOS["trip"], SCENARIOS["investment"]
PORTFOLIO = "update_portfolio"


def _number(scenario: Scenario, step: str, *, refused: bool, silent: bool) -> int:
    """Return a saga that is struck in this way at this step, and in no other."""
    refusal = scenario.refusals.get(step)
    return next(
        number
        for number in range(1000)
        if (refusal is not None and is_refused(SEED, number, step, refusal.share))
        is refused
        and is_unanswered(SEED, number, step, scenario.unanswered.get(step, 0))
        is silent
        and all(
            fate_of(SEED, number, step, direction, 1) is Fate.WELL
            for direction in Direction
        )
    )


class World:
    """The handlers of a scenario on a ledger of their own."""

    def __init__(self, path: Path, effects: Effects) -> None:
        self._path = path
        self._effects = effects

    async def run(self, scenario: Scenario, command: Command) -> Any:
        """Run the handler of a command's step."""
        services = Services(scenario, "test", SEED, self._effects, StillClock())
        step = next(
            step
            for step in scenario.definition("test").steps
            if step.name == command.fence.step
        )
        is_action = command.fence.direction is DO
        name = step.action if is_action else step.compensation
        handler = services.handlers().get(command.fence.direction, name)
        assert handler is not None
        ctx = context_of(command)
        return await handler.function(*handler.arguments(ctx, command))

    @property
    def books(self) -> list[tuple[str, Direction, int]]:
        """What happened, in order."""
        return [(e.step, e.direction, e.amount) for e in read_effects(self._path)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """An empty world."""
    path = tmp_path / "effects.db"
    await create_effects(path)
    effects = Effects(path)
    with contextlib.closing(effects):
        yield World(path, effects)


async def test_an_effect_has_the_amount_of_its_saga(world: World) -> None:
    """The answer has it too, and the undo takes the same away."""
    number = _number(TRIP, "book_hotel", refused=False, silent=False)
    request: Json = {"trip": number, "cents": 700}
    output = await world.run(TRIP, action(request, step="book_hotel"))
    assert output == {"number": 1, "amount": 700}
    await world.run(TRIP, undo(output, input=request, step="book_hotel"))
    assert world.books == [("book_hotel", DO, 700), ("book_hotel", UNDO, 700)]


async def test_the_undo_of_a_refused_booking_finds_nothing(world: World) -> None:
    """It is done without an effect."""
    number = _number(TRIP, "book_flight", refused=True, silent=False)
    request: Json = {"trip": number, "cents": 700}
    with pytest.raises(StepFailed, match="full"):
        await world.run(TRIP, action(request, step="book_flight"))
    await world.run(TRIP, undo(None, input=request, step="book_flight"))
    assert world.books == []


async def test_a_portfolio_is_put_back_by_its_snapshot(world: World) -> None:
    """The undo goes by the output's values, whatever the input says."""
    number = _number(INVESTMENT, PORTFOLIO, refused=False, silent=False)
    request = {"investment": number, "cents": 700, "portfolio": 5000}
    output = await world.run(INVESTMENT, action(request, step=PORTFOLIO))
    assert output == {"number": 1, "amount": 700, "before": 5000, "after": 5700}
    snapshot = {**output, "before": 5100}
    await world.run(INVESTMENT, undo(snapshot, input=request, step=PORTFOLIO))
    assert world.books[-1] == (PORTFOLIO, UNDO, 600)


async def test_a_portfolio_that_never_answers_is_put_back_too(world: World) -> None:
    """It happened and nobody knows: each attempt errs, the undo has no output."""
    number = _number(INVESTMENT, PORTFOLIO, refused=False, silent=True)
    request: Json = {"investment": number, "cents": 700, "portfolio": 5000}
    for _ in "ab":
        with pytest.raises(ConnectionError):
            await world.run(INVESTMENT, action(request, step=PORTFOLIO))
    await world.run(INVESTMENT, undo(None, input=request, step=PORTFOLIO))
    assert world.books == [(PORTFOLIO, DO, 700), (PORTFOLIO, UNDO, 700)]
