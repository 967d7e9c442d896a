"""The two state machines, held to their diagrams."""

from __future__ import annotations

import re

import pytest

from saga_orchestrator.core import states
from saga_orchestrator.core.states import (
    ACTIVE,
    ENDED,
    SAGA_EDGES,
    SATISFIED,
    STEP_EDGES,
    SagaState,
    StepState,
)

_ARROW = re.compile(r"^    (\w+) -+> (\w+)", re.MULTILINE)


def _drawn(heading: str) -> set[tuple[str, str]]:
    """Return the arrows of the docstring's diagram under a heading."""
    text = states.__doc__ or ""
    _, _, rest = text.partition(f"{heading}::\n")
    block = re.split(r"\n(?=\S)", rest, maxsplit=1)[0]
    return set(_ARROW.findall(block))


@pytest.mark.parametrize(
    ("heading", "edges"), [("A saga", SAGA_EDGES), ("A step", STEP_EDGES)]
)
def test_diagram_is_table(
    heading: str, edges: dict[SagaState | StepState, frozenset[SagaState | StepState]]
) -> None:
    """The diagram that people read is the table that ``decide`` asserts."""
    table = {(one.value, other.value) for one in edges for other in edges[one]}
    assert _drawn(heading) == table


def test_every_state_is_in_its_table() -> None:
    """No state is forgotten, and none leads to itself."""
    assert set(SAGA_EDGES) == set(SagaState)
    assert set(STEP_EDGES) == set(StepState)
    assert all(state not in after for state, after in SAGA_EDGES.items())
    assert all(state not in after for state, after in STEP_EDGES.items())


def test_saga_machine_is_the_specified_one() -> None:
    """Completed is left by force only, compensated never, failed by an operator."""
    assert {state.value: set(after) for state, after in SAGA_EDGES.items()} == {
        "started": {"completed", "compensating", "failed"},
        "compensating": {"compensated", "failed"},
        "failed": {"started", "compensating"},
        "completed": {"compensating"},
        "compensated": set(),
    }


def test_ended_and_active_states() -> None:
    """``failed`` waits for a person, so it is listed with the active ones."""
    assert {"completed", "compensated"} == ENDED
    assert {"started", "compensating", "failed"} == ACTIVE
    assert {"completed", "skipped"} == SATISFIED


def test_values_are_the_specified_words() -> None:
    """Users meet these words in the store, the API and the logs."""
    assert [state.value for state in SagaState] == [
        "started", "completed", "compensating", "compensated", "failed",
    ]  # fmt: skip
    assert [state.value for state in StepState] == [
        "pending", "started", "completed", "failed", "skipped", "compensating",
        "compensated",
    ]  # fmt: skip
