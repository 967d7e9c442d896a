"""What a scenario is: the steps of a saga, what goes wrong with them, what holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.demo.faults import chance
from saga_orchestrator.demo.names import own_action, saga_name
from saga_orchestrator.participant.signals import StepFailed

TIMEOUT = dt.timedelta(seconds=0.5)
"""Of one run of a handler; what stalls costs its saga this much."""

_QUICK = RetryPolicy(
    max_attempts=5,
    initial_delay=dt.timedelta(milliseconds=50),
    max_delay=dt.timedelta(seconds=1),
)
_PERSISTENT = RetryPolicy(
    max_attempts=None,
    initial_delay=dt.timedelta(milliseconds=50),
    max_delay=dt.timedelta(seconds=1),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A definite no that a service says to some sagas, at every attempt.

    Attributes:
        error: what its handler raises.
        reason: for people.
        share: of the sagas that get this far.
    """

    error: type[StepFailed]
    reason: str
    share: float


@dataclass(frozen=True, slots=True)
class Balance:
    """What is conserved: in each saga what stands of these steps is the same.

    Attributes:
        rule: that, as a sentence.
        noun: what the first step makes; the judge counts them.
        steps: their amounts, done less undone, are equal.
    """

    rule: str
    noun: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A kind of saga that the demo runs and judges.

    Attributes:
        name: also what people call one of its sagas.
        steps: what a user would write, each after those that it depends on. A
            run adds retries and timeouts, and makes the actions its own.
        refusals: which steps are refused, by their names.
        balance: what is conserved.
        context: what a saga is started with, beside its number: a key for each
            range, from which the seed draws.
        unit: the key of the amount that its effects are about.
        unanswered: the share of sagas in which a step's answers are all lost,
            by its name. It happened, and nobody knows.
        snapshots: which value of the context a step changes, by its name. Its
            output has the value before and after; its undo goes by these.
        parallel_compensation: as in a definition.
    """

    name: str
    steps: tuple[Step, ...]
    refusals: Mapping[str, Refusal]
    balance: Balance
    context: Mapping[str, range]
    unit: str = "cents"
    unanswered: Mapping[str, float] = field(default_factory=dict)
    snapshots: Mapping[str, str] = field(default_factory=dict)
    parallel_compensation: bool = False

    @property
    def is_sequence(self) -> bool:
        """Whether each step waits for the one before it, and for no other."""
        return not any(step.depends_on for step in self.steps)

    def definition(self, run: str) -> SagaDefinition:
        """Return the saga, its actions being those of one run."""
        return SagaDefinition(
            saga_name(self.name),
            steps=[_step_of(run, step) for step in self.steps],
            parallel_compensation=self.parallel_compensation,
        )

    def context_of(self, seed: int, number: int) -> dict[str, Json]:
        """Return what saga number ``number`` is started with."""
        drawn: dict[str, Json] = {
            key: values[int(chance(seed, number, key) * len(values))]
            for key, values in self.context.items()
        }
        return {self.name: number, **drawn}


def _step_of(run: str, step: Step) -> Step:
    """Return a step of a run; one that cannot be undone is never given up."""
    undo = step.compensation
    return replace(
        step,
        action=own_action(run, step.action),
        compensation=own_action(run, undo) if undo else "",
        retry=_QUICK if undo else _PERSISTENT,
        compensation_retry=_PERSISTENT,
        timeout=TIMEOUT,
    )
