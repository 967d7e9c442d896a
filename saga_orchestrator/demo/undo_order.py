"""In which order sagas were undone: as it happened, and as their histories tell.

S6: a step is not undone before what depends on it. Where a scenario undoes all
at once there is no order to hold; that nothing goes forward then holds always.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import Direction
from saga_orchestrator.demo.effects import Effect
from saga_orchestrator.demo.report import Check
from saga_orchestrator.demo.scenarios import Scenario
from saga_orchestrator.ports.records import SagaRecord

_UNDONE = frozenset({HistoryKind.STEP_SUCCEEDED, HistoryKind.STEP_SKIPPED})

Before = Mapping[str, frozenset[str]]
"""Per step all that it depends on, directly or not."""


def undo_order(
    scenario: Scenario,
    records: Mapping[str, SagaRecord],
    books: Mapping[str, Sequence[Effect]],
) -> Check:
    """Check the order of undo, as far as the scenario has one.

    Args:
        scenario: says what depends on what.
        records: what the store says of the sagas.
        books: each saga's effects, in the order of their commits.
    """
    before = _before(scenario)
    has_order = not scenario.parallel_compensation
    problems: list[str] = []
    undone = 0
    for saga_id, record in records.items():
        effects = books.get(saga_id, ())
        undone += any(e.direction is Direction.COMPENSATION for e in effects)
        found = [*_went_forward(record)]
        if has_order:
            found += [*_left_standing(scenario, effects, before)]
            found += [*_sent_early(record, before)]
        problems.extend(f"saga {saga_id}: {text}" for text in found)
    return Check(_rule(scenario), undone, "undone saga", tuple(problems))


def _rule(scenario: Scenario) -> str:
    if scenario.parallel_compensation:
        return "once the undo has begun nothing goes forward"
    if scenario.is_sequence:
        return "steps are undone in reverse order"
    return "no step is undone before those that depend on it"


def _before(scenario: Scenario) -> Before:
    """Work it out from what the scenario says; the engine's own graph is not asked."""
    before: dict[str, frozenset[str]] = {}
    last: tuple[str, ...] = ()
    for step in scenario.steps:
        direct = last if scenario.is_sequence else step.depends_on
        before[step.name] = frozenset(direct).union(*(before[name] for name in direct))
        last = (step.name,)
    return before


def _left_standing(
    scenario: Scenario, effects: Sequence[Effect], before: Before
) -> Iterator[str]:
    """Find effects undone while one that builds on them stood."""
    undoable = {step.name for step in scenario.steps if step.compensation}
    standing: set[str] = set()
    for effect in effects:
        if effect.direction is Direction.ACTION:
            standing.add(effect.step)
            continue
        standing.discard(effect.step)
        for other in sorted(standing & undoable):
            if effect.step in before[other]:
                yield f"{effect.step} was undone while {other} stood"


def _sent_early(record: SagaRecord, before: Before) -> Iterator[str]:
    """Find undos that were sent before a later step's undo was through."""
    sent: list[str] = []
    done: set[str] = set()
    for entry in record.history:
        if entry.direction is Direction.COMPENSATION and entry.kind in _UNDONE:
            done.add(entry.step or "")
        for dispatch in entry.sent:
            step = dispatch.fence.step
            if dispatch.fence.direction is Direction.ACTION or step in sent:
                continue
            if before[step] & set(sent):
                yield f"{step} was undone after a step that it depends on"
            if not done.issuperset(sent):
                yield f"{step} was undone while another undo was open"
            sent.append(step)


def _went_forward(record: SagaRecord) -> Iterator[str]:
    """Find actions that were sent after an undo."""
    has_begun = False
    for entry in record.history:
        for dispatch in entry.sent:
            if dispatch.fence.direction is Direction.COMPENSATION:
                has_begun = True
            elif has_begun:
                yield f"{dispatch.fence.step} was sent after the undo had begun"
