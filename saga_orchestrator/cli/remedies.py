"""What a person can do about a saga, as the commands to type. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from saga_orchestrator.cli.json_text import shown
from saga_orchestrator.cli.terminal import ALARM, TOLD, columns, one_line
from saga_orchestrator.core.residual import Residual, Settlement
from saga_orchestrator.core.saga import Saga, StepStatus
from saga_orchestrator.core.states import Direction, Phase, StepState

_REASON = "--reason TEXT"
_COLUMNS = 100


def ways_on(saga: Saga) -> list[str]:
    """Return what leads a failed saga on, a line each."""
    undoing = saga.direction is Direction.COMPENSATION
    ways = list(_ways_back(saga) if undoing else _ways_forward(saga))
    return ["what leads it on, one of:", *_indented(ways)]


def residual_lines(saga: Saga, residual: Residual) -> Iterator[str]:
    """Yield what is known of a residual, and how it is settled."""
    if residual.settled is not None:
        yield one_line(_settled(residual, residual.settled))
        return
    step = residual.fence.step
    yield (
        f"{ALARM} residual {residual.number}: {step} answered after its undo was "
        f"sent, or after the end; its effect may stand; output {shown(residual.output)}"
    )
    yield from _indented(list(_ways_to_settle(saga, residual)))


def _settled(residual: Residual, settled: Settlement) -> str:
    what = (
        f"its undo is saga {settled.undo_id}, asked for by"
        if settled.undo_id
        else "dismissed by"
    )
    return (
        f"{TOLD} residual {residual.number}: {residual.fence.step}: {what} "
        f"{settled.principal}: {settled.reason}"
    )


def _ways_to_settle(saga: Saga, residual: Residual) -> Iterator[tuple[str, str]]:
    words = f"{residual.fence.saga_id} {residual.number} {_REASON}"
    step = saga.plan.steps[saga.plan.number[residual.fence.step]]
    if step.compensation:
        yield f"saga residual undo {words}", "a saga of its own undoes it"
        yield f"saga residual dismiss {words}", "it needs no undo"
    else:
        yield (
            f"saga residual dismiss {words}",
            "it needs no undo, or was undone by hand: it has no compensation",
        )


def _ways_forward(saga: Saga) -> Iterator[tuple[str, str]]:
    failed = _names(saga, lambda status: status.state is StepState.FAILED)
    what = f"try again: {', '.join(failed)}" if failed else "go on"
    yield f"saga retry {saga.id} {_REASON}", what
    for name in failed:
        command = f"saga resolve {saga.id} {name} --done --output JSON {_REASON}"
        yield command, f"{name} was done by hand"
    force = "--force " if _is_past_pivot(saga) else ""
    yield f"saga compensate {saga.id} {force}{_REASON}", "undo what was done"


def _ways_back(saga: Saga) -> Iterator[tuple[str, str]]:
    stuck = _names(saga, lambda status: status.phase is Phase.GAVE_UP)
    what = f"undo again: {', '.join(stuck)}" if stuck else "go on undoing"
    yield f"saga retry {saga.id} {_REASON}", what
    for name in stuck:
        command = f"saga resolve {saga.id} {name} --undone {_REASON}"
        yield command, f"{name} was undone by hand"


def _names(saga: Saga, holds: Callable[[StepStatus], bool]) -> list[str]:
    pairs = zip(saga.plan.steps, saga.steps, strict=True)
    return [step.name for step, status in pairs if holds(status)]


def _is_past_pivot(saga: Saga) -> bool:
    pairs = zip(saga.plan.steps, saga.steps, strict=True)
    return any(
        step.pivot and status.state is StepState.COMPLETED for step, status in pairs
    )


def _indented(ways: list[tuple[str, str]]) -> list[str]:
    """Return commands with what they are for behind, or above where that is long."""
    lines = [f"  {line}" for line in columns(ways)]
    if max(map(len, lines)) <= _COLUMNS:
        return lines
    return [line for command, what in ways for line in (f"  {what}", f"    {command}")]
