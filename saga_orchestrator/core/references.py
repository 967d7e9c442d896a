"""Paths into a saga's data: ``context.a.b`` and ``outputs.step.a.0``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from saga_orchestrator.core.payload import Json

REF = "$ref"
ROOTS = ("context", "outputs")


class MissingPathError(LookupError):
    """A path leads nowhere; says at which word it ended."""


def references_in(value: Json) -> Iterator[str]:
    """Yield every ``$ref`` path in a step's input, depth first."""
    if isinstance(value, Mapping):
        if set(value) == {REF}:
            yield value[REF]
            return
        for item in value.values():
            yield from references_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references_in(item)


def step_in(path: str) -> str | None:
    """Return the step that an ``outputs`` path reads; None for a context path."""
    root, _, rest = path.partition(".")
    return rest.partition(".")[0] if root == "outputs" else None


def lookup(path: str, context: Mapping[str, Json], outputs: Mapping[str, Json]) -> Json:
    """Return the value at a path.

    Raises:
        MissingPathError: names the path and the word where it ends.
    """
    root, *words = path.split(".")
    value: Json = context if root == "context" else outputs
    for word in words:
        if isinstance(value, Mapping) and word in value:
            value = value[word]
        elif isinstance(value, list) and word.isdecimal() and int(word) < len(value):
            value = value[int(word)]
        else:
            raise MissingPathError(f"{path!r} has no {word!r}")
    return value


def resolve(value: Json, find: Callable[[str], Json]) -> Json:
    """Return the value with each ``$ref`` replaced by what it points to.

    Args:
        value: an input.
        find: returns what a path points to.

    Raises:
        MissingPathError: a path leads nowhere.
    """
    if isinstance(value, Mapping):
        if set(value) == {REF}:
            return find(value[REF])
        return {key: resolve(item, find) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(item, find) for item in value]
    return value
