"""Random sagas, and random things that happen to them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hypothesis import strategies as st

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.errors import DefinitionError
from tests.support.sagas import seconds, step

_POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.sampled_from([1, 2, 3, None]),
    initial_delay=st.sampled_from([seconds(0), seconds(1), seconds(30)]),
    jitter=st.sampled_from([0.0, 0.2, 1.0]),
    non_retryable=st.just(("Declined",)),
)
_CONDITIONS = st.sampled_from(
    [None] * 6 + [{"context.flag": True}, {"context.flag": False}]
)


@st.composite
def _steps(draw: st.DrawFn, number: int, *, dag: bool) -> Step:
    names = [f"s{i}" for i in range(number)]
    depends_on = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    plain = draw(st.integers(0, 9)) == 0
    options = {
        "depends_on": depends_on if dag else [],
        "when": draw(_CONDITIONS),
        "retry": draw(_POLICIES),
        "compensation_retry": draw(_POLICIES),
        "undo_failed": draw(st.sampled_from(["if_unknown", "always", "never"])),
        "timeout": draw(st.sampled_from([seconds(60), seconds(5)])),
        "limit": draw(st.sampled_from([None, None, seconds(100)])),
    }
    if plain or draw(st.integers(0, 4)) == 0:
        options["compensation"] = ""
    if plain:
        options["action"] = ""
    return step(f"s{number}", **options)


@st.composite
def definitions(draw: st.DrawFn) -> SagaDefinition:
    """Draw a definition of at most eight steps, in a row or as a DAG."""
    dag = draw(st.booleans())
    steps = [draw(_steps(i, dag=dag)) for i in range(draw(st.integers(1, 8)))]
    made = SagaDefinition(
        "random",
        steps=steps,
        deadline=draw(st.sampled_from([None, seconds(200), seconds(7200)])),
        on_failure=draw(st.sampled_from(["compensate", "compensate", "park"])),
        on_deadline=draw(st.sampled_from(["compensate", "suspend"])),
        parallel_compensation=draw(st.integers(0, 2)) == 0,
        on_compensation_failure=draw(st.sampled_from(["halt", "continue"])),
    )
    pivot = draw(st.integers(0, 3 * len(steps)))
    if pivot >= len(steps):
        return made
    steps[pivot] = replace(steps[pivot], pivot=True)
    try:
        return replace(made, steps=steps)
    except DefinitionError:  # it would run beside another step
        return made


class Move(NamedTuple):
    """Something that happens.

    Attributes:
        kind: the name of a method of ``Play``.
        pick: which step or dispatch.
        option: a detail, read by the kind.
    """

    kind: str
    pick: int
    option: int


_ANSWERS = [
    *["succeed"] * 10,
    *("succeed_idly", "err", "err", "refuse", "refuse", "refuse_for_now", "decline"),
    *("skip", "postpone", "accept", "beat"),
]
_TIMES = [*["wake"] * 5, "wait", "almost"]
_REQUESTS = ["compensate", "force", "retry", "resolve", "give_up", "resend"]
_KINDS = [*_ANSWERS, *_TIMES, *_REQUESTS]
DELAYS = (0, 1, 59, 120, 900, 86_400)
"""Seconds, by a move's option."""


@st.composite
def moves(draw: st.DrawFn) -> list[Move]:
    """Draw what happens to one saga."""
    one = st.builds(
        Move, st.sampled_from(_KINDS), st.integers(0, 40), st.integers(0, 5)
    )
    length = draw(st.integers(0, 60))  # lists alone would mostly be short
    return draw(st.lists(one, min_size=length, max_size=length))
