"""Between a handler's Python values and the JSON that travels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from saga_orchestrator.core.payload import (
    PAYLOAD_BYTES_MAX,
    VALUES_MAX,
    Json,
    normalise,
)

T = TypeVar("T")

_COLLECTIONS = (list, tuple, set, frozenset)


class InvalidInput(Exception):
    """The argument does not fit the handler's annotation; it was not run."""


class InvalidOutput(Exception):
    """What the handler returned cannot be its output; it did run."""


def parse(adapter: TypeAdapter[T], value: Json) -> T:
    """Return the JSON value as the annotated type.

    Pydantic's JSON mode: also a strict model takes a date from its text.

    Raises:
        InvalidInput: names the fields, never their values.
    """
    try:
        return adapter.validate_json(to_json(value))
    except ValidationError as error:
        raise InvalidInput(_describe(error)) from error


def dump(
    adapter: TypeAdapter[Any], value: object, *, bytes_max: int = PAYLOAD_BYTES_MAX
) -> Json:
    """Return a handler's result as JSON, held to its annotation.

    By alias, so that the compensation's annotation reads what this wrote.

    Raises:
        InvalidOutput: the wrong type, or nothing that JSON can carry.
    """
    write = adapter.serializer.to_python
    try:
        fitting = adapter.validator.validate_python(value)
        _check(write(fitting, by_alias=True, warnings=False))
        plain = write(fitting, mode="json", by_alias=True, warnings="error")
        if plain is None:  # most handlers have nothing to tell
            return None
        return normalise(plain, "output", bytes_max=bytes_max)
    except ValidationError as error:
        raise InvalidOutput(_describe(error)) from error
    except (ValueError, RecursionError, PydanticUserError) as error:
        raise InvalidOutput(str(error)) from error


def copy(value: Json) -> Json:
    """Return a deep copy, which its owner may change."""
    return from_json(to_json(value))


def accepts_none(adapter: TypeAdapter[Any]) -> bool:
    """Tell whether None fits the annotation."""
    try:
        adapter.validate_python(None)
    except ValidationError:
        return False
    return True


def _check(output: object) -> None:
    """Refuse what pydantic would write as null in silence, and what has no end.

    Counted before it is written: a million values would hold up every other
    handler of the process.
    """
    if output is None:
        return
    count = 0
    waiting = [output]
    while waiting:
        value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(
                f"output: holds {value}; JSON has no such number, use null"
            )
        if isinstance(value, Mapping):
            value = value.values()
        elif not isinstance(value, _COLLECTIONS):
            continue
        count += len(value)
        if count > VALUES_MAX:
            raise ValueError(
                f"output: holds more than {VALUES_MAX} values, which is the limit; "
                "store them elsewhere and return a reference"
            )
        waiting.extend(value)


def _describe(error: ValidationError) -> str:
    # Without the values: they may be card numbers, and this text is logged.
    problems = error.errors(
        include_url=False, include_input=False, include_context=False
    )
    return "; ".join(
        ".".join(str(part) for part in problem["loc"] or ("value",))
        + ": "
        + problem["msg"]
        for problem in problems
    )
