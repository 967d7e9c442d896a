"""What a start must bring, and what it need not."""

from __future__ import annotations

import pytest

from saga_orchestrator.core.decide import decide
from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.events import SagaStarted
from saga_orchestrator.core.plan import compile_plan
from saga_orchestrator.errors import PayloadError
from tests.support.sagas import NOW, SAGA_ID, Run, definition, step


@pytest.mark.parametrize(
    ("first", "path"),
    [
        (step("a", when={"context.x.y": 1}), "context.x.y"),
        (step("a", input={"n": [{"$ref": "context.x.y"}]}), "context.x.y"),
        (step("a", when={"context.z": 1}, input={"$ref": "context.x"}), "context.x"),
    ],
)
def test_start_must_bring_what_the_first_step_reads(first: Step, path: str) -> None:
    """The start is refused, naming path and step; there is no saga."""
    event = SagaStarted(SAGA_ID, compile_plan(definition(first)), {"z": 1})
    decision = decide(None, event, NOW)
    assert (decision.saga, decision.changed) == (None, False)
    assert isinstance(decision.refusal, PayloadError)
    assert decision.refusal.path == path
    assert "step 'a' reads it" in str(decision.refusal)


def test_start_need_not_bring_what_a_skipped_step_reads() -> None:
    """Nor what later steps read: earlier ones may add it."""
    skipped = step("a", when={"context.z": 1}, input={"$ref": "context.x"})
    later = step("b", input={"$ref": "context.y"})
    assert Run(definition(skipped, later), {"z": 2}).states == ["skipped", "started"]


def test_repeated_start_is_not_judged_again() -> None:
    """A deployment may ask for more; the saga that exists is returned."""
    run = Run(definition(step("a")))
    changed = compile_plan(definition(step("a", when={"context.x": 1})))
    decision = run.apply(SagaStarted(SAGA_ID, changed, {}))
    assert (decision.refusal, decision.changed) == (None, False)
