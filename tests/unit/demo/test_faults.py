"""The demo's faults: seeded, so that a run can be repeated, and never a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from saga_orchestrator.core.states import Direction
from saga_orchestrator.demo.faults import (
    Fate,
    SeededBrokerFaults,
    fate_of,
    is_refused,
    is_unanswered,
)
from saga_orchestrator.ports.broker import OutgoingMessage

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE = OutgoingMessage("key", b"{}", "kind")


def _fates(seed: int) -> list[Fate]:
    return [
        fate_of(seed, order, "ship_order", direction, attempt)
        for order in range(300)
        for direction in Direction
        for attempt in (1, 2)
    ]


def test_the_seed_decides() -> None:
    """The same seed gives the same fates, another one others."""
    assert _fates(1) == _fates(1)
    assert _fates(1) != _fates(2)


@pytest.mark.parametrize("fate", list(Fate))
def test_every_fate_happens(fate: Fate) -> None:
    """A few hundred orders meet everything that can go wrong."""
    assert fate in _fates(1)


@pytest.mark.parametrize("strikes", [is_refused, is_unanswered])
def test_some_sagas_are_struck(strikes: Callable[[int, int, str, float], bool]) -> None:
    """A refusal, or a silence, is a saga's whatever the attempt; most have none."""
    struck = sum(strikes(7, number, "charge_payment", 0.12) for number in range(300))
    assert 10 < struck < 100
    assert not any(strikes(7, number, "create_order", 0) for number in range(300))


def test_the_broker_repeats_and_loses_nothing() -> None:
    """Every message is stored at least once, some twice; each life differs."""
    faults, again, next_life = (SeededBrokerFaults(7, life) for life in (0, 0, 1))
    copies = [faults.copies(MESSAGE) for _ in range(200)]
    assert set(copies) == {1, 2}
    assert copies == [again.copies(MESSAGE) for _ in range(200)]
    assert copies != [next_life.copies(MESSAGE) for _ in range(200)]
