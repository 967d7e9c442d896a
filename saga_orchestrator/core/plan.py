"""A definition compiled for ``decide``, and its JSON.

A saga carries its plan: later definitions touch new sagas only. Plans are
stored once per content hash and cached in the process.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from saga_orchestrator.core.definition import LIMIT_DEFAULT, SagaDefinition, Step
from saga_orchestrator.core.order import dependencies_of, dependents_of
from saga_orchestrator.core.payload import Json, normalise
from saga_orchestrator.core.references import references_in, step_in
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import NewerDataError, StoreDataError

PLAN_VERSION = 1
_UNREADABLE = (
    *(ValueError, TypeError, KeyError, AttributeError),
    *(OverflowError, RecursionError),
)
"""What a text that is no plan can raise on the way to one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked definition with what ``decide`` would else compute each time.

    Attributes:
        definition: what the user wrote.
        steps: its steps; a step's position is its number everywhere.
        number: a step's number by its name.
        depends_on: per step the steps it directly waits for.
        dependents: per step the steps that directly wait for it.
        text: the canonical JSON.
        digest: SHA-256 of ``text``, hex; the key of ``saga_plans``.
        has_conditions: some step has ``when``, so that ``decide`` needs data.
        reads: per step the steps whose outputs its command carries or is made of.
    """

    definition: SagaDefinition
    steps: tuple[Step, ...]
    number: Mapping[str, int]
    depends_on: tuple[tuple[int, ...], ...]
    dependents: tuple[tuple[int, ...], ...]
    text: str
    digest: str
    has_conditions: bool
    reads: tuple[frozenset[str], ...]

    def limit_of(
        self, step: int, direction: Direction = Direction.ACTION
    ) -> dt.timedelta:
        """Return the step's limit: its own, else 24 h.

        An undo has 24 h: a short limit of the action must not make it give up.
        """
        if direction is Direction.COMPENSATION:
            return LIMIT_DEFAULT
        return self.steps[step].limit or LIMIT_DEFAULT

    def condition_reads(self) -> frozenset[str]:
        """Return the steps whose outputs some condition reads."""
        reads = (step_in(path) for step in self.steps for path in step.when or ())
        return frozenset(read for read in reads if read is not None)


def compile_plan(definition: SagaDefinition) -> Plan:
    """Compile a definition; the same object gives the same plan."""
    return _compiled(_text_of(definition))


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Plan:
    return _build(_definition_from(json.loads(text)), text)


def plan_from_text(text: str) -> Plan:
    """Compile a plan that a store kept.

    Raises:
        NewerDataError: of a version this code does not know.
        StoreDataError: not a plan.
    """
    try:
        version = json.loads(text)["v"]
        if version == PLAN_VERSION:
            return _compiled(text)
    except _UNREADABLE as error:
        raise StoreDataError(f"a stored plan cannot be read: {error!r}") from error
    else:
        raise NewerDataError(
            f"a stored plan has version {version!r}, this code knows {PLAN_VERSION}; "
            "run the newer release"
        )


def _build(definition: SagaDefinition, text: str) -> Plan:
    steps = tuple(definition.steps)
    depends_on = tuple(dependencies_of(steps))
    return Plan(
        definition=definition,
        steps=steps,
        number={step.name: i for i, step in enumerate(steps)},
        depends_on=depends_on,
        dependents=tuple(dependents_of(depends_on)),
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        has_conditions=any(step.when for step in steps),
        reads=tuple(
            _reads(steps, step, waits_for)
            for step, waits_for in zip(steps, depends_on, strict=True)
        ),
    )


def _reads(
    steps: tuple[Step, ...], step: Step, waits_for: tuple[int, ...]
) -> frozenset[str]:
    direct = {steps[i].name for i in waits_for}
    referred = (step_in(path) for path in references_in(step.input))
    return frozenset(direct.union(name for name in referred if name is not None))


def _text_of(definition: SagaDefinition) -> str:
    document = {
        "v": PLAN_VERSION,
        "name": definition.name,
        "deadline": _seconds(definition.deadline),
        "on_failure": definition.on_failure,
        "on_deadline": definition.on_deadline,
        "parallel_compensation": definition.parallel_compensation,
        "on_compensation_failure": definition.on_compensation_failure,
        "steps": [_step_document(step) for step in definition.steps],
    }
    return json.dumps(
        document, ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )


def _step_document(step: Step) -> dict[str, Json]:
    return {
        "name": step.name,
        "action": step.action,
        "compensation": step.compensation,
        "depends_on": list(step.depends_on),
        "input": normalise(step.input, "input"),
        "when": normalise(step.when, "when"),
        "retry": _retry_document(step.retry),
        "timeout": _seconds(step.timeout),
        "limit": _seconds(step.limit),
        "compensation_retry": _retry_document(step.compensation_retry),
        "undo_failed": step.undo_failed,
        "pivot": step.pivot,
    }


def _retry_document(policy: RetryPolicy) -> dict[str, Json]:
    return {
        "max_attempts": policy.max_attempts,
        "initial_delay": _seconds(policy.initial_delay),
        "multiplier": policy.multiplier,
        "max_delay": _seconds(policy.max_delay),
        "jitter": policy.jitter,
        "non_retryable": list(policy.non_retryable),
    }


def _definition_from(document: dict[str, Any]) -> SagaDefinition:
    return SagaDefinition(
        document["name"],
        steps=[_step_from(step) for step in document["steps"]],
        deadline=_duration(document["deadline"]),
        on_failure=document["on_failure"],
        on_deadline=document["on_deadline"],
        parallel_compensation=document["parallel_compensation"],
        on_compensation_failure=document["on_compensation_failure"],
    )


def _step_from(document: dict[str, Any]) -> Step:
    fields = dict(document)
    for name in ("timeout", "limit"):
        fields[name] = _duration(fields[name])
    for name in ("retry", "compensation_retry"):
        policy = dict(fields[name])
        policy["initial_delay"] = _duration(policy["initial_delay"])
        policy["max_delay"] = _duration(policy["max_delay"])
        policy["non_retryable"] = tuple(policy["non_retryable"])
        fields[name] = RetryPolicy(**policy)
    return Step(**fields)


def _seconds(value: dt.timedelta | None) -> float | None:
    return None if value is None else value.total_seconds()


def _duration(seconds: float | None) -> dt.timedelta | None:
    return None if seconds is None else dt.timedelta(seconds=seconds)
