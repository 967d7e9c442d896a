"""What a function's signature says: its shape and its pydantic adapters."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from saga_orchestrator.errors import DefinitionError

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
# An annotation may be text, and its module not importable here: so by name.
_CONTEXT_NAMES = ("StepContext", "Any", "object", str(inspect.Parameter.empty))
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Signature:
    """A handler's shape.

    Attributes:
        is_async: False: it runs in a thread. A plain decorator around an async
            function passes its coroutine on, so what is wrapped decides.
        takes_argument: False: the function takes the context only.
        argument: reads the argument.
        result: checks and writes the result.
    """

    is_async: bool
    takes_argument: bool
    argument: TypeAdapter[Any]
    result: TypeAdapter[Any]


def describe(function: Callable[..., Any]) -> str:
    """Return ``name (file:line)``, which errors call the function."""
    plain = _plain(function)
    name = getattr(plain, "__qualname__", repr(plain))
    code = getattr(plain, "__code__", None)
    if code is None:
        return name
    return f"{name} ({code.co_filename}:{code.co_firstlineno})"


def inspect_handler(function: Callable[..., Any]) -> Signature:
    """Read the signature of ``(ctx)`` or ``(ctx, request)``.

    Raises:
        DefinitionError: another shape, or an annotation that pydantic cannot
            read; names the function.
    """
    where = describe(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"{where}: is a generator; return one result")
    parameters = list(inspect.signature(function).parameters.values())
    positional = [each for each in parameters if each.kind in _POSITIONAL][:2]
    needed = [
        each.name
        for each in parameters
        if each not in positional
        and each.default is each.empty
        and each.kind not in _VARIADIC
    ]
    if not positional or needed:
        raise DefinitionError(f"{where}: must take (ctx) or (ctx, request)")
    first = positional[0]
    if not any(name in str(first.annotation) for name in _CONTEXT_NAMES):
        raise DefinitionError(
            f"{where}: {first.name}: the first argument is the StepContext; "
            "must take (ctx) or (ctx, request)"
        )
    takes_argument = len(positional) > 1
    return Signature(
        is_async=inspect.iscoroutinefunction(_plain(function)),
        takes_argument=takes_argument,
        argument=_adapter(function, positional[1].name) if takes_argument else _ANY,
        result=result_adapter(function),
    )


def result_adapter(function: Callable[..., Any]) -> TypeAdapter[Any]:
    """Return the adapter of what a function returns; of anything, unannotated.

    Raises:
        DefinitionError: the annotation cannot be read; names the function.
    """
    return _adapter(function, "return")


def _adapter(function: Callable[..., Any], name: str) -> TypeAdapter[Any]:
    plain = _plain(function)
    annotations = getattr(plain, "__annotations__", {})
    if name not in annotations:
        return _ANY
    # Only this one is evaluated: the others may be imported for type checkers.
    holder = types.SimpleNamespace(__annotations__={name: annotations[name]})
    try:
        hints = typing.get_type_hints(
            holder, globalns=getattr(plain, "__globals__", {}), include_extras=True
        )
        adapter: TypeAdapter[Any] = TypeAdapter(hints[name])
    except (NameError, TypeError, PydanticUserError) as error:
        raise _unreadable(function, name, str(error).partition("\n")[0]) from error
    if not adapter.pydantic_complete:
        raise _unreadable(function, name, "it names a type that is not defined yet")
    return adapter


def _unreadable(
    function: Callable[..., Any], name: str, problem: str
) -> DefinitionError:
    return DefinitionError(
        f"{describe(function)}: {name}: the annotation cannot be read: {problem}; "
        "it must be importable where the function is defined, and of a kind that "
        "pydantic knows"
    )


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that carries the annotations."""
    function = inspect.unwrap(function)
    if isinstance(function, functools.partial):
        return _plain(function.func)
    if inspect.isroutine(function):
        return function
    call: Callable[..., Any] = type(function).__call__  # an object that is called
    return call


_ANY: TypeAdapter[Any] = TypeAdapter(Any)
