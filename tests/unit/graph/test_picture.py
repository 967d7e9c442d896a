"""What a picture says of a definition, and of a saga."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.states import SagaState, StepState
from saga_orchestrator.graph import picture_of_saga
from saga_orchestrator.graph.marks import ASCII, STATES, UNDOS
from tests.support.sagas import ONCE, TWICE, Run, definition, sequence, step
from tests.unit.graph.situations import (
    HOSTILE,
    compensated,
    drawn,
    in_every_state,
    of_run,
)


def test_every_state_has_its_own_glyph_and_word() -> None:
    """States can be told apart without colour, in ASCII too."""
    assert set(STATES) == {state.value for state in (*StepState, *SagaState)}
    for values in (
        [mark.glyph for mark in STATES.values()],
        [mark.glyph.translate(ASCII) for mark in STATES.values()],
        [mark.word for mark in STATES.values()],
        [mark.word for mark in UNDOS],
    ):
        assert Counter(values).most_common(1)[0][1] == 1, values


def test_a_definition_has_no_states() -> None:
    """What is not running has actions, undos and conditions, and no state."""
    picture = drawn(
        step("a"),
        step("b", action="", compensation="", when={"context.x": True}),
        step("c", pivot=True, compensation=""),
    )
    first, second, third = picture.nodes
    assert (first.action, first.words, first.order) == ("do.a", "", None)
    assert first.undo is not None
    assert (first.undo.name, first.undo.words) == ("undo.a", "")
    assert (second.action, second.undo, second.when) == ("", None, "context.x = true")
    assert third.pivot
    assert picture.mark is None


def test_the_order_of_what_happened() -> None:
    """Actions and undos are numbered by when they came to their end."""
    picture = of_run(compensated())
    assert [node.order for node in picture.nodes] == [1, 2, 3, None]
    undos = [node.undo.order for node in picture.nodes if node.undo]
    assert undos == [5, 4, None, None]
    assert picture.reason == "step c: Declined: no"
    assert picture.mark is STATES[SagaState.COMPENSATED]


def test_without_a_history_there_are_no_numbers() -> None:
    """A snapshot alone does not tell the order, so none is shown."""
    picture = picture_of_saga(compensated().saga)
    assert {node.order for node in picture.nodes} == {None}


def test_what_is_under_way_has_no_number() -> None:
    """A failed attempt that is made again has not come to its end."""
    run = Run(definition(*sequence("a", "b", retry=TWICE)))
    run.succeed("a")
    run.err("b")
    picture = of_run(run)
    assert [node.order for node in picture.nodes] == [1, None]
    assert picture.nodes[1].words == "started, waits to retry, attempt 2 of 2"
    run.retry_now("b")
    assert of_run(run).nodes[1].words == "started, attempt 2 of 2"


def test_why_a_step_failed() -> None:
    """Refused and unknown are told apart, for only one of them may have happened."""
    refused, unknown = (
        Run(definition(step("a"))),
        Run(definition(step("a", retry=ONCE))),
    )
    refused.refuse("a")
    unknown.err("a")
    assert of_run(refused).nodes[0].words == "failed, refused"
    assert of_run(unknown).nodes[0].words == "compensating, outcome unknown"


def test_the_words_for_an_undo() -> None:
    """Each undo says whether it was done, is to be done, gave up, or is not needed."""
    run = Run(definition(*sequence("a", "b", "c", "d", "e", compensation_retry=TWICE)))
    for name in "abc":
        run.succeed(name)
    run.refuse("d")
    run.succeed("c")

    def words() -> list[str]:
        return [node.undo.words for node in of_run(run).nodes if node.undo]

    rest = ["not needed", "not needed"]
    assert words() == ["to be undone", "being undone", "undone", *rest]
    run.err("b")
    waits = "waits to retry, attempt 2 of 2"
    assert words() == ["to be undone", waits, "undone", *rest]
    run.retry_now("b")
    run.err("b")
    gave_up = "gave up, attempt 2 of 2"
    assert words() == ["to be undone", gave_up, "undone", *rest]
    run.resolve("a")
    assert words()[0] == "undone"


def test_a_resolved_undo_counts_as_an_undo() -> None:
    """Who undoes a step by hand does not change when its action was done."""
    run = Run(definition(*sequence("a", "b", "c", compensation_retry=ONCE)))
    run.succeed("a")
    run.succeed("b")
    run.refuse("c")
    run.err("b")
    run.resolve("a")
    first = of_run(run).nodes[0]
    assert first.undo is not None
    assert (first.order, first.undo.order) == (1, 5)


def test_undos_of_a_saga_that_goes_forward() -> None:
    """Nothing is said of them before it turns back; at the end none is needed."""
    run = Run(definition(*sequence("a", "b")))
    run.succeed("a")
    assert [node.undo.words for node in of_run(run).nodes if node.undo] == ["", ""]
    run.succeed("b")
    undos = [node.undo.words for node in of_run(run).nodes if node.undo]
    assert undos == ["not needed"] * 2


def test_texts_of_users_are_made_fit() -> None:
    """A reason is on one line and no longer than 500 columns."""
    saga = replace(compensated().saga, reason=HOSTILE)
    reason = picture_of_saga(saga).reason
    assert len(reason) == 500
    assert reason.isprintable()


@pytest.mark.parametrize("state", SagaState)
def test_every_combination_can_be_told(state: SagaState) -> None:
    """No snapshot is without a picture, however unlikely."""
    saga = replace(in_every_state(), state=state)
    assert all(node.mark.word and node.undo for node in picture_of_saga(saga).nodes)
