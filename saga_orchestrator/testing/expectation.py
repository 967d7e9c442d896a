"""What may be expected of an outcome, and whether the test spelt it right.

A misspelt expectation is a mistake of the test, not a difference: it raises
``TypeError`` or ``ValueError`` and says what may be written instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import TypedDict

from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.states import SagaState, StepState
from saga_orchestrator.testing.call import RESULTS, UNDO


class Expected(TypedDict, total=False):
    """What may be expected besides the state; what is left out may be any.

    A list is expected in its order, a set in any.

    Attributes:
        executed: steps whose action went well.
        undone: steps whose compensation went well.
        calls: every run, as ``Call.text`` tells it.
        steps: states of steps by name; those of others may be any.
        outputs: outputs of steps by name; those of others may be any.
        context: the whole context.
        reason: part of the saga's reason; empty: it has none.
        residuals: effects outside its account that nobody settled; default 0.
    """

    executed: Collection[str]
    undone: Collection[str]
    calls: Collection[str]
    steps: Mapping[str, str]
    outputs: Mapping[str, Json]
    context: Mapping[str, Json]
    reason: str
    residuals: int


def check_expected(plan: Plan, state: str, expected: Expected) -> None:
    """Hold what is expected against what there is to expect.

    Raises:
        TypeError: a key that there is not, or runs that are no list or set.
        ValueError: a step, a state or a result that there is not; lists those
            there are.
    """
    unknown = [key for key in expected if key not in Expected.__annotations__]
    if unknown:
        keys = ", ".join(Expected.__annotations__)
        raise TypeError(f"expect: no such key: {', '.join(unknown)}; they are {keys}")
    _check_names("state", [state], SagaState)
    for what, runs in _runs(expected):
        if isinstance(runs, str | Mapping) or not isinstance(runs, Collection):
            raise TypeError(
                f"expect: {what}: must be a list, expected in its order, or a set, "
                f"expected in any; it is {runs!r}"
            )
        if what == "calls":
            _check_calls(runs, plan)
        else:
            _check_names(what, runs, plan.number)
    steps = expected.get("steps", {})
    _check_names("steps", steps, plan.number)
    for name, step_state in steps.items():
        _check_names(f"steps: {name}", [step_state], StepState)
    _check_names("outputs", expected.get("outputs", {}), plan.number)


def _runs(expected: Expected) -> Iterator[tuple[str, object]]:
    if "executed" in expected:
        yield "executed", expected["executed"]
    if "undone" in expected:
        yield "undone", expected["undone"]
    if "calls" in expected:
        yield "calls", expected["calls"]


def _check_calls(calls: Iterable[object], plan: Plan) -> None:
    """Hold each run, ``undo charge: refused``, against the steps and the results."""
    for call in map(str, calls):
        name, colon, result = call.removeprefix(UNDO).partition(": ")
        _check_names("calls", [name], plan.number)
        if colon:
            _check_names(f"calls: {name}", [result], RESULTS)


def _check_names(
    what: str, names: Iterable[str], known: Iterable[str] | type[StrEnum]
) -> None:
    known = [str(name) for name in known]
    unknown = [str(name) for name in names if str(name) not in known]
    if unknown:
        raise ValueError(
            f"expect: {what}: there is no {', '.join(map(repr, unknown))}; there is "
            f"{', '.join(known) or 'none'}"
        )
