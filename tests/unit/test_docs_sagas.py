"""docs/sagas.md is a program, and its definitions do what its text says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from saga_orchestrator import (
    DefinitionError,
    Handlers,
    SagaDefinition,
    Step,
    StepContext,
)
from saga_orchestrator.errors import PayloadError
from saga_orchestrator.testing import action, given, operator

PAGE = Path(__file__).parents[2] / "docs" / "sagas.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names that the page's blocks define, run one after the other."""
    names: dict[str, Any] = {}
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_lists_from_functions(page):
    """A function makes steps that differ in their names and input."""
    given(page["books"]).when(action("reserve_ink").refuses()).expect(
        "compensated",
        calls=["reserve_paper", "reserve_ink: refused", "undo reserve_paper"],
    )


def test_graph(page):
    """Independent steps go side by side; the one that joins them waits."""
    given(page["parcel"]).expect(
        "completed", calls=["reserve_box", "reserve_tape", "pack"]
    )


@pytest.mark.parametrize(
    ("paid", "physical", "executed"),
    [
        (False, False, ["validate"]),
        (True, False, ["validate", "fraud_check", "charge"]),
        (False, True, ["validate", "ship"]),
        (True, True, ["validate", "fraud_check", "charge", "ship"]),
    ],
)
def test_composition(page, paid, physical, executed):
    """Sub-lists are there or not, and hang on what is before them."""
    saga = page["checkout"](paid=paid, physical=physical)
    given(saga).expect("completed", executed=executed)
    given(saga).when(operator.compensates(force=True)).expect(
        "compensated",
        undone=[name for name in reversed(executed) if name in ("charge", "ship")],
    )


@pytest.mark.parametrize(
    ("required", "high", "executed"),
    [
        (True, True, ["score", "approve", "pay"]),
        (True, False, ["score", "pay"]),
        (False, True, ["score", "pay"]),
    ],
)
def test_conditions(page, required, high, executed):
    """A step runs where all its conditions hold; else it is skipped."""
    skipped = "completed" if "approve" in executed else "skipped"
    given(page["approval"], {"requires_approval": required}).when(
        action("score").returns({"high": high})
    ).expect("completed", executed=executed, steps={"approve": skipped})


def test_condition_on_what_is_missing_undoes(page):
    """Neither run nor skipped; the reason names the path."""
    given(page["approval"], {}).when(action("score").returns({"high": True})).expect(
        "compensated", executed=["score"], reason="requires_approval"
    )


def test_first_condition_is_asked_for_at_the_start():
    """The start is refused, naming the path and the step."""
    first = Step("approve", action="desk.approve", when={"context.vip": True})
    with pytest.raises(PayloadError, match=r"context\.vip: is missing; the 'when'"):
        given(SagaDefinition("s", steps=[first])).expect("completed")


@pytest.mark.parametrize(("amount", "state"), [(99, "skipped"), (100, "completed")])
def test_skip(page, amount, state):
    """The handler decides; a skipped step is done and not undone."""
    context = {"requires_approval": True, "amount": amount}
    given(page["approval"], context, handlers=[page["desk"]]).when(
        action("score").returns({"high": True}), action("pay").refuses()
    ).expect("compensated", steps={"approve": state}, undone=[])


@pytest.mark.parametrize(
    ("reads", "depends_on", "fix"),
    [
        ("c", (), "which does not come before it; move that step before it"),
        ("c", ("a",), "which does not come before it; add it to depends_on"),
        ("nobody", (), "which is not there; the steps are a, b, c"),
        ("b", (), "reads the step itself, which has no output yet"),
    ],
)
def test_reference_to_no_ancestor_is_a_definition_error(reads, depends_on, fix):
    """It names the step, the path, and the fix that fits."""
    path = f"outputs.{reads}.id"
    b = Step("b", action="x.b", input={"$ref": path}, depends_on=depends_on)
    with pytest.raises(DefinitionError) as refused:
        SagaDefinition("s", steps=[Step("a", action="x.a"), b, Step("c", "x.c")])
    assert f"step 'b': input: '{path}' " in str(refused.value)
    assert str(refused.value).endswith(fix)


def test_an_object_with_more_than_a_reference_is_a_literal():
    """The page says so: there are no defaults."""
    literal = {"$ref": "outputs.a.id", "default": 3}
    seen = []
    service = Handlers()

    @service.step("y.b")
    async def take(ctx: StepContext, given: dict) -> None:
        seen.append(given)

    steps = [Step("a", action="x.a"), Step("b", action="y.b", input=literal)]
    given(SagaDefinition("s", steps=steps), handlers=[service]).expect("completed")
    assert seen == [literal]


def test_reference_that_leads_nowhere_is_a_refusal():
    """Nothing was sent for that step; the others are undone."""
    reading = Step("b", action="x.b", input={"id": {"$ref": "outputs.a.id"}})
    steps = [Step("a", action="x.a", compensation="x.undo"), reading]
    given(SagaDefinition("s", steps=steps)).when(
        action("a").returns({"name": "n"})
    ).expect("compensated", calls=["a", "undo a"], reason="'outputs.a.id' has no 'id'")
