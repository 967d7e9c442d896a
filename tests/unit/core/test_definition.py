"""Definitions are checked where they are made; the error names the place."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

import pytest

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.errors import DefinitionError
from tests.support.sagas import definition, seconds, sequence, step

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE = dt.timedelta(minutes=1)


def _diamond_with_pivot() -> SagaDefinition:
    return definition(
        step("a"),
        step("left", depends_on=["a"], pivot=True),
        step("right", depends_on=["a"]),
        step("end", depends_on=["left", "right"]),
    )


# What is wrong, how it is written, and the words that the error must have.
_BAD_STEPS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "unknown dependency": (
        lambda: definition(step("a"), step("b", depends_on=["x"])),
        ["'b'", "depends_on", "'x'"],
    ),
    "cycle": (
        lambda: definition(step("a", depends_on=["b"]), step("b", depends_on=["a"])),
        ["'a'", "depends_on", "a -> b -> a"],
    ),
    "waits for itself": (
        lambda: definition(step("a", depends_on=["a"])),
        ["'a'", "depends_on", "a -> a"],
    ),
    "duplicate name": (lambda: definition(*sequence("a", "a")), ["'a'", "name"]),
    "empty step name": (lambda: definition(step("")), ["''", "name"]),
    "dotted step name": (lambda: definition(step("a.b")), ["'a.b'", "name"]),
    "long step name": (lambda: definition(step("a" * 65)), ["a" * 65, "name"]),
    "step name with newline": (lambda: definition(Step("a\n")), ["'a\\n'", "name"]),
    "action with a wildcard": (
        lambda: definition(step("a", action="pay.*")),
        ["'a'", "action", "'pay.*'"],
    ),
    "action of 201 characters": (
        lambda: definition(step("a", action="x" * 201)),
        ["'a'", "action"],
    ),
    "compensation with an empty word": (
        lambda: definition(step("a", compensation="pay..back")),
        ["'a'", "compensation", "'pay..back'"],
    ),
    "compensation without action": (
        lambda: definition(step("a", action="")),
        ["'a'", "compensation"],
    ),
    "limit beyond deadline": (
        lambda: definition(step("a", limit=2 * _MINUTE), deadline=_MINUTE),
        ["'a'", "limit", "deadline"],
    ),
    "limit below timeout": (
        lambda: definition(step("a", limit=seconds(10), timeout=seconds(20))),
        ["'a'", "limit", "timeout"],
    ),
    "zero timeout": (
        lambda: definition(step("a", timeout=seconds(0))),
        ["'a'", "timeout"],
    ),
    "timeout as a number": (
        lambda: definition(step("a", timeout=30)),
        ["'a'", "timeout", "timedelta"],
    ),
    "endless limit": (
        lambda: definition(step("a", limit=dt.timedelta.max)),
        ["'a'", "limit"],
    ),
    "reference to a later step": (
        lambda: definition(step("a", input={"$ref": "outputs.b.id"}), step("b")),
        ["'a'", "input", "'b'", "move that step before it"],
    ),
    "reference to itself": (
        lambda: definition(step("a", input=[{"$ref": "outputs.a"}])),
        ["'a'", "input", "outputs.a"],
    ),
    "reference to a parallel step": (
        lambda: definition(
            step("a"),
            step("b", depends_on=["a"]),
            step("c", depends_on=["a"], input={"x": {"$ref": "outputs.b.id"}}),
        ),
        ["'c'", "input", "'b'"],
    ),
    "reference without root": (
        lambda: definition(step("a", input={"$ref": "order.id"})),
        ["'a'", "input", "'order.id'"],
    ),
    "reference to the whole context": (
        lambda: definition(step("a", input={"$ref": "context"})),
        ["'a'", "input", "'context'"],
    ),
    "reference with an empty word": (
        lambda: definition(step("a", input={"$ref": "context.a..b"})),
        ["'a'", "input", "'context.a..b'"],
    ),
    "reference that is no text": (
        lambda: definition(step("a", input={"$ref": 7})),
        ["'a'", "input", "7"],
    ),
    "condition on a later step": (
        lambda: definition(step("a", when={"outputs.b": 1}), step("b")),
        ["'a'", "when", "'b'"],
    ),
    "condition without path": (
        lambda: definition(step("a", when={"approved": True})),
        ["'a'", "when", "'approved'"],
    ),
    "condition that is no mapping": (
        lambda: definition(step("a", when=["context.x"])),
        ["'a'", "when"],
    ),
    "step beside the pivot": (_diamond_with_pivot, ["'right'", "pivot", "'left'"]),
    "unknown choice": (
        lambda: definition(step("a", undo_failed="sometimes")),
        ["'a'", "undo_failed", "'sometimes'", "if_unknown, always, never"],
    ),
    "NaN in input": (
        lambda: definition(step("a", input={"x": float("nan")})),
        ["'a'", "input.x"],
    ),
    "NUL in input": (
        lambda: definition(step("a", input={"x": ["ok", "\0"]})),
        ["'a'", "input.x[1]", "NUL"],
    ),
    "NUL in a condition": (
        lambda: definition(step("a", when={"context.x": "\0"})),
        ["'a'", "when", "NUL"],
    ),
    "retry that is no policy": (
        lambda: definition(step("a", retry=3)),
        ["'a'", "retry", "RetryPolicy"],
    ),
    "compensation retry that is no policy": (
        lambda: definition(step("a", compensation_retry={})),
        ["'a'", "compensation_retry", "RetryPolicy"],
    ),
}


@pytest.mark.parametrize(("make", "words"), _BAD_STEPS.values(), ids=_BAD_STEPS)
def test_bad_step_is_named(make: Callable[[], Any], words: list[str]) -> None:
    """An error at a step names the saga, the step and the field."""
    with pytest.raises(DefinitionError) as caught:
        make()
    assert [w for w in ["'order'", *words] if w not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"on_failure": "retry"}, "on_failure"),
        ({"on_deadline": "park"}, "on_deadline"),
        ({"on_compensation_failure": "stop"}, "on_compensation_failure"),
        ({"deadline": seconds(0)}, "deadline"),
        ({"deadline": 60}, "deadline"),
        ({"steps": ["a"]}, "steps"),
        ({"steps": [Step(f"s{i}") for i in range(2001)]}, "2001 steps"),
    ],
)
def test_bad_option_is_named(options: dict[str, Any], word: str) -> None:
    """An error of the saga itself names the saga and the field."""
    with pytest.raises(DefinitionError, match=f"saga 'order': .*{word}"):
        SagaDefinition("order", **options)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 129, "order\n", None])
def test_bad_saga_name(name: Any) -> None:
    """A saga's name has only characters that are safe everywhere."""
    with pytest.raises(DefinitionError, match="name"):
        SagaDefinition(name)


def test_definition_error_is_a_value_error() -> None:
    """Who does not know our errors still catches it."""
    with pytest.raises(ValueError, match="max_attempts"):
        RetryPolicy(max_attempts=0)


def test_longest_names_are_accepted() -> None:
    """The limits are inclusive."""
    made = SagaDefinition("x" * 128, steps=[Step("s" * 64, action="a" * 200)])
    assert len(made.name) == 128


def test_single_dependency_may_be_a_plain_name() -> None:
    """``depends_on="a"`` is not read as the letters of the name."""
    made = definition(step("first"), step("second", depends_on="first"))
    assert list(made.steps)[1].depends_on == ("first",)


def test_pivot_in_a_sequence() -> None:
    """In a sequence every step is before or after the pivot."""
    steps = [step("a"), step("b", pivot=True), step("c"), step("d", pivot=True)]
    assert list(definition(*steps).steps) == steps


@pytest.mark.parametrize("shape", ["chain", "fan-out", "fan-in"])
def test_largest_definitions_are_checked_quickly(shape: str) -> None:
    """2,000 steps are checked without recursion, in about a second."""
    names = [f"s{i}" for i in range(2000)]
    if shape == "chain":
        refs: list[Any] = [None, *({"$ref": f"outputs.{name}"} for name in names)]
        steps = [step(n, input=ref) for n, ref in zip(names, refs, strict=False)]
    elif shape == "fan-out":
        steps = [step("root"), *(step(n, depends_on="root") for n in names[1:])]
    else:
        steps = [*(step(n) for n in names[1:]), step("end", depends_on=names[1:])]
    began = time.perf_counter()
    definition(*steps)
    assert time.perf_counter() - began < 5  # generous: a shared machine


@pytest.mark.parametrize("shape", ["wide", "deep"])
def test_too_many_steps_are_not_looked_at(shape: str) -> None:
    """10,000, beside or behind one another: refused by their number."""
    names = [f"s{i}" for i in range(10_000)]
    after = ["root"] * 10_000 if shape == "wide" else ["root", *names[:-1]]
    steps = [step(n, depends_on=one) for n, one in zip(names, after, strict=True)]
    with pytest.raises(DefinitionError, match="10000 steps, the limit is 2000"):
        definition(*steps)


def test_what_the_steps_say_is_bounded_together() -> None:
    """Inputs that fit each, and dependencies, make no plan that nobody can read."""
    large = {"text": "x" * 1_000_000}
    with pytest.raises(DefinitionError, match="pass references"):
        definition(*(step(f"s{i}", input=large) for i in range(5)))
    names = [f"{'n' * 60}{i:04}" for i in range(300)]
    with pytest.raises(DefinitionError, match="gather the others"):
        definition(
            *(step(name) for name in names),
            *(step(f"s{i}", depends_on=names) for i in range(300)),
        )


def test_long_cycle_is_told() -> None:
    """A cycle through 2,000 steps is found without recursion."""
    names = [f"s{i}" for i in range(2000)]
    steps = [step(names[i], depends_on=names[i - 1]) for i in range(2000)]
    with pytest.raises(DefinitionError, match="s0 -> s1999 -> s1998"):
        definition(*steps)
