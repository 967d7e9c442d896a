"""The compiled definition: its order, and its text in a store."""

from __future__ import annotations

import datetime as dt
import json
import time

import pytest

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.order import ancestors_of, find_cycle, topological
from saga_orchestrator.core.plan import compile_plan, plan_from_text
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import StoreDataError
from tests.support.sagas import Run, definition, seconds, sequence, step

_EVERYTHING = SagaDefinition(
    "everything",
    steps=[
        step("a", input={"n": [1, 2.5, None, True], "x": {"$ref": "context.x"}}),
        step(
            "b",
            depends_on=["a"],
            when={"context.ok": True, "outputs.a.id": "é"},
            retry=RetryPolicy(None, seconds(0.25), 1.5, seconds(7), 0.1, ("Declined",)),
            timeout=seconds(1.5),
            limit=seconds(90),
            compensation_retry=RetryPolicy(max_attempts=2),
            undo_failed="never",
            pivot=True,
        ),
        Step("c", depends_on=["b"]),
    ],
    deadline=dt.timedelta(days=2),
    on_failure="park",
    on_deadline="suspend",
    parallel_compensation=True,
    on_compensation_failure="continue",
)


def test_sequence_by_default() -> None:
    """Where no step names ``depends_on`` each waits for the one before it."""
    plan = compile_plan(definition(*sequence("a", "b", "c")))
    assert plan.depends_on == ((), (0,), (1,))
    assert plan.dependents == ((1,), (2,), ())


def test_dag_as_soon_as_one_step_names_depends_on() -> None:
    """Then a step without ``depends_on`` waits for nobody."""
    steps = [step("a"), step("b"), step("c", depends_on=["a"]), step("d")]
    plan = compile_plan(definition(*steps))
    assert plan.depends_on == ((), (), (0,), ())


def test_dependency_named_twice_counts_once() -> None:
    """A doubled name is no error and makes no double edge."""
    plan = compile_plan(definition(step("a"), step("b", depends_on=["a", "a"])))
    assert plan.depends_on == ((), (0,))
    assert plan.dependents == ((1,), ())


def test_text_round_trip() -> None:
    """A plan read back from a store is the plan that was written."""
    plan = compile_plan(_EVERYTHING)
    again = plan_from_text(plan.text)
    assert again == plan
    assert again.definition == _EVERYTHING
    assert json.loads(plan.text)["v"] == 1


def test_digest_is_stable() -> None:
    """The digest is the key of stored plans, so it may not drift."""
    assert compile_plan(_EVERYTHING).digest == (
        "87add9b118a10a6bb38e30c6924e01d298bc6293fc8180e67ab4136f070459a1"
    )


def test_equal_definitions_share_a_digest() -> None:
    """Content decides; any change of content shows."""
    one, same = definition(step("a")), definition(step("a"))
    other = definition(step("a", timeout=seconds(61)))
    assert compile_plan(one).digest == compile_plan(same).digest
    assert compile_plan(one).digest != compile_plan(other).digest


def test_plan_of_a_newer_version() -> None:
    """A newer release's plan is refused with the way out."""
    with pytest.raises(StoreDataError, match="run the newer release"):
        plan_from_text('{"v":2}')


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"v":1}', '{"v":1,"name":"a"}'])
def test_text_that_is_no_plan(text: str) -> None:
    """A damaged row is a store error, as every caller of a store expects."""
    with pytest.raises(StoreDataError):
        plan_from_text(text)


def test_limit_defaults() -> None:
    """A step's limit is its own, else 24 h, whatever the saga's deadline."""
    own = step("a", limit=seconds(70))
    plan = compile_plan(definition(own, step("b"), deadline=seconds(3600)))
    assert (plan.limit_of(0), plan.limit_of(1)) == (seconds(70), dt.timedelta(hours=24))


def test_limit_of_an_undo() -> None:
    """Limit and deadline bound the forward part; an undo has its 24 hours."""
    plan = compile_plan(definition(step("a", limit=seconds(70)), deadline=seconds(90)))
    assert plan.limit_of(0, Direction.COMPENSATION) == dt.timedelta(hours=24)


def test_reads() -> None:
    """A command is made of its direct dependencies and of what its input names."""
    steps = [*sequence("a", "b", "c"), step("d", input={"$ref": "outputs.a.id"})]
    plan = compile_plan(definition(*steps))
    assert plan.reads[3] == {"a", "c"}
    assert plan.reads[0] == frozenset()
    assert not plan.has_conditions
    conditional = definition(step("a"), step("b", when={"outputs.a": 1}))
    assert compile_plan(conditional).has_conditions
    assert compile_plan(conditional).condition_reads() == {"a"}


def test_graph_functions() -> None:
    """Orders and ancestors of a small graph, written out."""
    graph = [(1, 2), (), (1,)]
    assert topological(graph) == [1, 2, 0]
    assert ancestors_of(graph) == [0b110, 0, 0b010]
    assert find_cycle(graph) == []
    assert find_cycle([(), (0, 2), (1,)]) == [1, 2, 1]


def test_saga_without_steps_completes_at_once() -> None:
    """There is nothing to wait for."""
    run = Run(definition())
    assert run.saga.state == "completed"
    assert (run.saga.version, run.saga.wake_at) == (1, None)


@pytest.mark.parametrize("shape", ["chain of plain steps", "fan-out"])
def test_largest_sagas_are_decided_quickly(shape: str) -> None:
    """2,000 steps move in one event, without recursion."""
    names = [f"s{i}" for i in range(1999)]
    if shape == "fan-out":
        steps = [step("root"), *(step(name, depends_on="root") for name in names)]
    else:
        steps = [step("root"), *(Step(name) for name in names)]
    run = Run(definition(*steps))
    began = time.perf_counter()
    run.succeed("root")
    assert time.perf_counter() - began < 2  # generous: a shared machine
    assert len(run.last.dispatches) == (1999 if shape == "fan-out" else 0)
    assert run.saga.is_completed == (shape != "fan-out")
