"""Random sagas and random histories: the invariants of ``judge`` always hold."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, event, example, given, settings

from saga_orchestrator.core.definition import SagaDefinition
from saga_orchestrator.core.states import ENDED, SagaState
from tests.support.sagas import ONCE, TWICE, definition, sequence
from tests.unit.core.play import Play
from tests.unit.core.strategies import Move, definitions, moves

_STOPPED = ENDED | {SagaState.FAILED}


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@_settings(600)
@given(definition=definitions(), moves=moves())
# b was dispatched by a's success: the same history number, and yet undone first.
@example(
    definition=definition(*sequence("a", "b", retry=ONCE)),
    moves=[Move("succeed", 1, 1), Move("err", 1, 1)],
)
# The instant of a's resend passes while b, sent later, is in flight.
@example(
    definition=definition(*sequence("a", "b")),
    moves=[Move("wait", 0, 1), Move("succeed", 1, 1), Move("wake", 0, 0)],
)
# b's undo is sent when its wait is given up; the event names no dispatch.
@example(
    definition=definition(*sequence("a", "b", retry=ONCE)),
    moves=[Move("succeed", 1, 1), Move("give_up", 0, 0), Move("wake", 0, 0)],
)
def test_invariants(definition: SagaDefinition, moves: list[Move]) -> None:
    """S1 to S8, S12, S14, S17, S19 and L2 hold after every event."""
    play = Play(definition)
    for move in moves:
        play.play(move)
    event(f"ended up {play.saga.state}")


@_settings(150)
@given(definition=definitions(), moves=moves())
def test_every_path_ends_when_participants_answer(
    definition: SagaDefinition, moves: list[Move]
) -> None:
    """L1, L5: once everything succeeds, the saga stops within bounded events."""
    play = Play(definition)
    for move in moves:
        play.play(move)
    play.finish(limit=200)
    assert play.saga.state in _STOPPED
    if play.saga.state == "failed" and play.saga.direction == "compensation":
        play.retry()
        play.finish(limit=200)
        assert play.saga.state == "compensated"


@_settings(80)
@given(definition=definitions(), moves=moves())
def test_every_path_ends_in_silence(
    definition: SagaDefinition, moves: list[Move]
) -> None:
    """L1: limits and lapses end a saga whose participants never answer.

    Except where an undo may be tried for ever, as its policy says.
    """
    bounded = [replace(step, compensation_retry=TWICE) for step in definition.steps]
    play = Play(replace(definition, steps=bounded))
    for move in moves:
        play.play(move)
    for _ in range(5_000):
        if play.saga.wake_at is None:
            break
        play.now = max(play.now, play.saga.wake_at)
        play.wait(0)
    assert play.saga.state in _STOPPED
