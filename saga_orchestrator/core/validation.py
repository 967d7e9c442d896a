"""The rules a definition must keep, checked where it is made."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import NamedTuple, get_args

from saga_orchestrator.core.ids import (
    ACTION_NAME,
    ACTION_NAME_CHARS_MAX,
    SAGA_NAME,
    STEP_NAME,
)
from saga_orchestrator.core.order import ancestors_of, dependencies_of, find_cycle
from saga_orchestrator.core.payload import PAYLOAD_BYTES_MAX, encode
from saga_orchestrator.core.references import ROOTS, references_in, step_in
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.step import Step, UndoFailed
from saga_orchestrator.errors import DefinitionError, PayloadError

STEPS_MAX = 2_000
PLAN_CHARS_MAX = 4 * PAYLOAD_BYTES_MAX
"""Of what its steps say: a plan is read whole with the first of its sagas."""
DURATION_MAX = dt.timedelta(days=3650)


def check_saga(
    name: str, steps: tuple[Step, ...], deadline: dt.timedelta | None
) -> None:
    """Hold a saga's steps to every rule.

    Raises:
        DefinitionError: names the saga, the step, the field and the fix.
    """
    where = f"saga {name!r}"
    if not _matches(SAGA_NAME, name):
        raise DefinitionError(
            f"{where}: name: must be 1 to 128 letters, digits, '_', '-' or '.'"
        )
    if deadline is not None:
        _check_duration(where, "deadline", deadline)
    if len(steps) > STEPS_MAX:
        raise DefinitionError(
            f"{where}: has {len(steps)} steps, the limit is {STEPS_MAX}; "
            "split it into sagas that start one another"
        )
    size = sum(_check_step(where, step, deadline) for step in steps)
    if size > PLAN_CHARS_MAX:
        raise DefinitionError(
            f"{where}: the inputs, conditions and dependencies of its steps are "
            f"{size} characters of JSON, the limit is {PLAN_CHARS_MAX}; pass "
            "references, or let a step without an action gather the others"
        )
    _check_names(where, steps)
    _check_graph(where, steps)


def check_choice(where: str, field: str, value: str, choices: tuple[str, ...]) -> None:
    """Hold a field to its choices.

    Raises:
        DefinitionError: names them.
    """
    if value not in choices:
        raise DefinitionError(
            f"{where}: {field}: {value!r} is none of {', '.join(choices)}"
        )


def _check_step(where: str, step: Step, deadline: dt.timedelta | None) -> int:
    """Hold a step to its rules; return the size of its JSON."""
    if not isinstance(step, Step):
        raise DefinitionError(f"{where}: steps: {step!r} is not a Step")
    where = f"{where}: step {step.name!r}"
    if not _matches(STEP_NAME, step.name):
        raise DefinitionError(
            f"{where}: name: must be 1 to 64 letters, digits, '_' or '-'"
        )
    for name in ("action", "compensation"):
        _check_action_name(where, name, getattr(step, name))
    if step.compensation and not step.action:
        raise DefinitionError(f"{where}: has a compensation but no action to undo")
    for name in ("retry", "compensation_retry"):
        if not isinstance(getattr(step, name), RetryPolicy):
            raise DefinitionError(
                f"{where}: {name}: must be a RetryPolicy, "
                "as RetryPolicy(max_attempts=5)"
            )
    check_choice(where, "undo_failed", step.undo_failed, get_args(UndoFailed))
    _check_duration(where, "timeout", step.timeout)
    if step.limit is not None:
        _check_limit(where, step, step.limit, deadline)
    try:
        size = len(encode(step.input, "input")) + len(encode(step.when, "when"))
    except PayloadError as error:
        raise DefinitionError(f"{where}: {error}") from error
    return size + sum(map(len, step.depends_on))


def _check_action_name(where: str, field: str, name: str) -> None:
    if name == "":
        return
    if not _matches(ACTION_NAME, name) or len(name) > ACTION_NAME_CHARS_MAX:
        raise DefinitionError(
            f"{where}: {field}: {name!r} must be words of letters, digits, '_' or "
            f"'-' joined by dots, at most {ACTION_NAME_CHARS_MAX} characters"
        )


def _check_limit(
    where: str, step: Step, limit: dt.timedelta, deadline: dt.timedelta | None
) -> None:
    _check_duration(where, "limit", limit)
    if limit < step.timeout:
        raise DefinitionError(
            f"{where}: limit: {limit} is less than its timeout of {step.timeout}"
        )
    if deadline is not None and limit > deadline:
        raise DefinitionError(
            f"{where}: limit: {limit} is beyond the saga's deadline of {deadline}"
        )


def _check_names(where: str, steps: tuple[Step, ...]) -> None:
    seen: set[str] = set()
    for step in steps:
        if step.name in seen:
            raise DefinitionError(
                f"{where}: step {step.name!r}: the name is used twice; rename one"
            )
        seen.add(step.name)
    for step in steps:
        for name in step.depends_on:
            if name not in seen:
                raise DefinitionError(
                    f"{where}: step {step.name!r}: depends_on: there is no step "
                    f"{name!r}; the steps are {', '.join(sorted(seen))}"
                )


def _check_graph(where: str, steps: tuple[Step, ...]) -> None:
    depends_on = dependencies_of(steps)
    cycle = find_cycle(depends_on)
    if cycle:
        names = " -> ".join(steps[index].name for index in cycle)
        raise DefinitionError(
            f"{where}: step {steps[cycle[0]].name!r}: depends_on: the steps wait for "
            f"one another: {names}"
        )
    ancestors = ancestors_of(depends_on)
    every = tuple(step.name for step in steps)
    is_sequence = not any(step.depends_on for step in steps)
    for index, step in enumerate(steps):
        if step.input is None and step.when is None:
            continue
        before = {name for i, name in enumerate(every) if ancestors[index] >> i & 1}
        place = _Place(step.name, before, every, is_sequence)
        _check_paths(f"{where}: step {step.name!r}", step, place)
    _check_pivots(where, steps, ancestors)


class _Place(NamedTuple):
    """Where a step stands, to tell what it may read."""

    step: str
    before: set[str]
    names: tuple[str, ...]
    is_sequence: bool

    def why_not(self, read: str) -> str:
        """Return why the step cannot read another one's output, and the fix."""
        if read not in self.names:
            names = ", ".join(self.names)
            return f"reads step {read!r}, which is not there; the steps are {names}"
        if read == self.step:
            return "reads the step itself, which has no output yet"
        late = f"reads step {read!r}, which does not come before it"
        if self.is_sequence:
            return f"{late}; move that step before it"
        return f"{late}; add it to depends_on"


def _check_paths(where: str, step: Step, place: _Place) -> None:
    when: object = step.when
    if when is not None and not isinstance(when, Mapping):
        raise DefinitionError(
            f"{where}: when: must map paths to values, as "
            "{'context.requires_approval': True}"
        )
    for path in references_in(step.input):
        _check_path(f"{where}: input", path, place)
    for path in step.when or ():
        _check_path(f"{where}: when", path, place)


def _check_path(where: str, path: object, place: _Place) -> None:
    root, _, rest = path.partition(".") if isinstance(path, str) else ("", "", "")
    if root not in ROOTS or not all(rest.split(".")):
        raise DefinitionError(
            f"{where}: {path!r} is no path; write 'context.key' or 'outputs.step.key'"
        )
    read = step_in(str(path))
    if read is not None and read not in place.before:
        raise DefinitionError(f"{where}: {path!r} {place.why_not(read)}")


def _check_pivots(where: str, steps: tuple[Step, ...], ancestors: list[int]) -> None:
    for pivot in (number for number, step in enumerate(steps) if step.pivot):
        for index, step in enumerate(steps):
            related = ancestors[pivot] >> index & 1 or ancestors[index] >> pivot & 1
            if index != pivot and not related:
                raise DefinitionError(
                    f"{where}: step {step.name!r}: runs beside the pivot "
                    f"{steps[pivot].name!r}; it must come before it or after it"
                )


def _matches(pattern: re.Pattern[str], name: object) -> bool:
    return isinstance(name, str) and pattern.match(name) is not None


def _check_duration(where: str, field: str, value: dt.timedelta) -> None:
    if not isinstance(value, dt.timedelta):
        raise DefinitionError(
            f"{where}: {field}: must be a timedelta, as timedelta(seconds=30)"
        )
    if not dt.timedelta(0) < value <= DURATION_MAX:
        raise DefinitionError(f"{where}: {field}: must be over 0 and at most 10 years")
