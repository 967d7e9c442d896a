"""What runs in a world: random sagas of every policy that a definition has."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace

from saga_orchestrator import RetryPolicy, SagaDefinition, Step
from saga_orchestrator.core.payload import Json
from saga_orchestrator.errors import DefinitionError

SERVICES = ("near", "far", "rare")
"""In the engines' processes; in workers; in a worker that comes late."""
LONG_SECONDS = 120.0

_NO_DELAY = dt.timedelta(0)


def seconds(number: float) -> dt.timedelta:
    """Return a duration."""
    return dt.timedelta(seconds=number)


def definitions(rng: random.Random) -> list[SagaDefinition]:
    """Draw the kinds of sagas of a run; two of them have the same name."""
    names = ("kind0", "kind1", rng.choice(("kind1", "kind2")))
    return [_definition(rng, name) for name in names]


def context_of(rng: random.Random, number: int) -> dict[str, Json]:
    """Draw what a saga starts with."""
    return {"n": number, "flag": rng.random() < 0.7, "word": "x" * rng.randrange(9)}


def _definition(rng: random.Random, name: str) -> SagaDefinition:
    count = rng.randint(1, 6)
    is_graph = count > 1 and rng.random() < 0.6
    deadline = rng.choice((None, None, None, seconds(40), seconds(150)))
    steps = [_step(rng, number, deadline, is_graph) for number in range(count)]
    made = SagaDefinition(
        name,
        steps=steps,
        deadline=deadline,
        on_failure=rng.choice(("compensate",) * 6 + ("park",)),
        on_deadline=rng.choice(("compensate", "compensate", "suspend")),
        parallel_compensation=rng.random() < 0.25,
        on_compensation_failure=rng.choice(("halt", "continue")),
    )
    if rng.random() < 0.8:
        return made
    pivot = rng.randrange(count)
    steps[pivot] = replace(steps[pivot], pivot=True)
    try:
        return replace(made, steps=steps)
    except DefinitionError:  # it would run beside another step
        return made


def _step(
    rng: random.Random, number: int, deadline: dt.timedelta | None, is_graph: bool
) -> Step:
    before = [f"s{i}" for i in range(number)]
    depends_on = rng.sample(before, rng.randint(0, min(2, number))) if is_graph else []
    service = rng.choice(("near", "near", "far", "far", "far", "rare"))
    kind = rng.choice(("do",) * 8 + ("defer", "long"))
    if rng.random() < 0.04:
        return Step(f"s{number}", depends_on=depends_on)
    undo = rng.choice(("near", "far", "far", service))
    return Step(
        f"s{number}",
        action=f"{service}.{kind}",
        compensation=f"{undo}.undo" if rng.random() < 0.8 else "",
        depends_on=depends_on,
        input=_input(rng, depends_on if is_graph else before[-1:]),
        when=rng.choice((None,) * 9 + ({"context.flag": True},)),
        retry=_policy(rng, rng.randint(1, 4)),
        compensation_retry=_policy(rng, rng.choice((None, None, None, 4))),
        timeout=seconds(LONG_SECONDS if kind == "long" else rng.choice((3, 8))),
        limit=_limit(rng, kind, deadline),
        undo_failed=rng.choice(("if_unknown",) * 4 + ("always", "never")),
    )


def _policy(rng: random.Random, attempts: int | None) -> RetryPolicy:
    return RetryPolicy(
        attempts,
        initial_delay=rng.choice((_NO_DELAY, seconds(0.5), seconds(2))),
        max_delay=seconds(10),
        jitter=rng.choice((0.0, 0.2)),
        non_retryable=("StepFailed", "OSError")[: rng.choice((0, 0, 1, 2))],
    )


def _limit(
    rng: random.Random, kind: str, deadline: dt.timedelta | None
) -> dt.timedelta | None:
    """Draw a limit; what may be answered never has one."""
    if kind == "long":
        fits = deadline is None or deadline >= seconds(LONG_SECONDS)
        return seconds(LONG_SECONDS) if fits and rng.random() < 0.5 else None
    limit = seconds(rng.choice((15, 30, 60)))
    if deadline is not None:
        limit = min(limit, deadline)
    return limit if kind == "defer" or rng.random() < 0.5 else None


def _input(rng: random.Random, ancestors: list[str]) -> Json:
    """Draw the step's input: the context, or a path into what came before."""
    draw = rng.random()
    if draw < 0.7 or not ancestors:
        return None if draw < 0.7 else {"word": {"$ref": "context.word"}}
    # At times a path that leads nowhere, so that the command cannot be built.
    rest = ".step" if draw < 0.85 else "" if draw < 0.94 else ".nothing"
    return {"from": {"$ref": f"outputs.{ancestors[0]}{rest}"}}
