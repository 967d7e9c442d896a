"""Whether a start brings what its first steps read.

Later steps may read what earlier ones add to the context, so only those that
wait for nothing can be judged at the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from saga_orchestrator.core.payload import Json, is_same
from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.references import MissingPathError, lookup, references_in
from saga_orchestrator.core.step import Step
from saga_orchestrator.errors import PayloadError


def unreadable_start(plan: Plan, context: Mapping[str, Json]) -> PayloadError | None:
    """Return what is missing from a first context; None: nothing is."""
    for number, waits_for in enumerate(plan.depends_on):
        if waits_for:
            continue
        step = plan.steps[number]
        for path, reader in _reads(step, context):
            try:
                lookup(path, context, {})
            except MissingPathError:
                return PayloadError(
                    path, f"is missing; the {reader} of step {step.name!r} reads it"
                )
    return None


def _reads(step: Step, context: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield (path, what reads it); the input's only if the step is not skipped."""
    for path, expected in (step.when or {}).items():
        yield path, "'when'"
        if not is_same(lookup(path, context, {}), expected):
            return
    if step.action:
        for path in references_in(step.input):
            yield path, "input"
