"""The sagas of a chaos run: a sequence, two graphs, and undos that are refused.

What their handlers do depends on the seed, the saga's number and the dispatch; so
the judge knows what was to be expected.
"""

from __future__ import annotations

import datetime as dt

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.demo.faults import chance

TIMEOUT = dt.timedelta(seconds=2)
"""Of one run of a handler. A lost command is sent again after 60 s more."""

SLOWEST_SECONDS = 0.6

_QUICK = RetryPolicy(
    max_attempts=6,
    initial_delay=dt.timedelta(milliseconds=100),
    max_delay=dt.timedelta(seconds=1),
)
_PERSISTENT = RetryPolicy(
    max_attempts=None,
    initial_delay=dt.timedelta(milliseconds=100),
    max_delay=dt.timedelta(seconds=2),
)


def _step(
    saga: str, name: str, *after: str, undo: bool = True, pivot: bool = False
) -> Step:
    return Step(
        name,
        action=f"{saga}.{name}",
        compensation=f"{saga}.undo_{name}" if undo else "",
        depends_on=after,
        retry=_QUICK if undo else _PERSISTENT,
        compensation_retry=_PERSISTENT,
        timeout=TIMEOUT,
        pivot=pivot,
    )


ORDER = SagaDefinition(
    "order",
    [
        _step("order", "create"),
        _step("order", "reserve"),
        _step("order", "charge", pivot=True),
        _step("order", "ship", undo=False),
    ],
)
TRIP = SagaDefinition(
    "trip",
    [
        _step("trip", "plan"),
        _step("trip", "flight", "plan"),
        _step("trip", "hotel", "plan"),
        _step("trip", "car", "plan"),
        _step("trip", "confirm", "flight", "hotel", "car"),
    ],
    parallel_compensation=True,
)
LOAN = SagaDefinition(
    "loan",
    [
        _step("loan", "apply"),
        _step("loan", "score", "apply"),
        _step("loan", "verify", "apply"),
        _step("loan", "approve", "score", "verify"),
        _step("loan", "pay_out", "approve"),
    ],
)
CLAIM = SagaDefinition(
    "claim", [_step("claim", "register"), _step("claim", "pay"), _step("claim", "file")]
)

DEFINITIONS = {saga.name: saga for saga in (ORDER, TRIP, LOAN, CLAIM)}

_REFUSED = {
    ("order", "charge"): 0.12,
    ("trip", "hotel"): 0.1,
    ("trip", "car"): 0.06,
    ("loan", "approve"): 0.15,
    ("loan", "pay_out"): 0.05,
    ("claim", "file"): 0.4,
}
_UNDO_REFUSED = {("claim", "pay"): 0.3}


def definition_of(number: int) -> SagaDefinition:
    """Return what saga number ``number`` is started with."""
    return list(DEFINITIONS.values())[number % len(DEFINITIONS)]


def context_of(seed: int, number: int) -> dict[str, int]:
    """Return its context: its number, and the amount that all its effects have."""
    return {"number": number, "cents": 100 + int(chance(seed, number) * 99_900)}


def refuses(seed: int, number: int, saga: str, step: str) -> bool:
    """Tell whether a saga's action is refused, at every attempt."""
    share = _REFUSED.get((saga, step), 0.0)
    return chance(seed, number, step, "refused") < share


def refuses_undo(seed: int, number: int, saga: str, step: str, generation: int) -> bool:
    """Tell whether a dispatch of an undo is refused; an operator's retry is another."""
    share = _UNDO_REFUSED.get((saga, step), 0.0)
    return chance(seed, number, step, generation, "undo refused") < share


def seconds_of(seed: int, number: int, step: str) -> float:
    """Return how long a handler takes."""
    return SLOWEST_SECONDS * chance(seed, number, step, "pace")
