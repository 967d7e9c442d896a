"""Registering handlers: what is accepted, and what errors name."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import DefinitionError
from saga_orchestrator.participant.handlers import Handlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from saga_orchestrator.participant.context import StepContext


class Request(BaseModel):
    """A pydantic model."""

    amount: int


class Reading(TypedDict):
    """A typed dictionary."""

    amount: int


@dataclass
class Record:
    """A dataclass."""

    amount: int


def _only_context(ctx: StepContext) -> None: ...


def _unannotated(ctx, request): ...  # type: ignore[no-untyped-def]  # the point


def _model(ctx: StepContext, request: Request) -> Request:
    return request


def _optional(ctx: StepContext, request: Request | None) -> dict[str, Any]:
    return {}


def _typed_dict(ctx: StepContext, request: Reading) -> None: ...


def _dataclass(ctx: StepContext, request: Record) -> Record:
    return request


async def _asynchronous(
    ctx: StepContext, request: dict[str, Any], extra: int = 1
) -> None: ...


class _Callable:
    async def __call__(self, ctx: StepContext, request: Request) -> None: ...


def test_finds_what_was_registered() -> None:
    """A handler is found by direction and name; others are not."""
    payments = Handlers("payments")
    assert payments.step("payment.charge", long=True)(_model) is _model
    payments.compensation("payment.charge")(_optional)

    done = payments.get(Direction.ACTION, "payment.charge")
    undone = payments.get(Direction.COMPENSATION, "payment.charge")

    assert done is not None
    assert undone is not None
    assert (done.function, done.long, done.is_async) == (_model, True, False)
    assert (undone.function, undone.long) == (_optional, False)
    assert payments.get(Direction.ACTION, "payment.refund") is None
    assert payments.actions(Direction.ACTION) == {"payment.charge"}
    assert payments.service == "payments"


@pytest.mark.parametrize(
    ("function", "accepts_none"),
    [
        (_only_context, True),
        (_unannotated, True),
        (_model, False),
        (_optional, True),
        (_typed_dict, False),
        (_dataclass, False),
        (_asynchronous, False),
        (_Callable(), False),
        (functools.partial(_asynchronous, extra=2), False),
    ],
)
def test_knows_whether_an_undo_takes_none(function: Any, accepts_none: bool) -> None:
    """Every allowed shape registers, and its annotation says whether None fits."""
    handlers = Handlers()
    handlers.compensation("a")(function)
    handler = handlers.get(Direction.COMPENSATION, "a")
    assert handler is not None
    assert handler.accepts_none is accepts_none


@functools.wraps(_asynchronous)
def _decorated(*args: Any) -> Any:
    return _asynchronous(*args)


@pytest.mark.parametrize(
    "function",
    [_asynchronous, _Callable(), functools.partial(_asynchronous), _decorated],
)
def test_recognises_async_functions(function: Any) -> None:
    """However it is wrapped, an async function is awaited, not run in a thread."""
    handlers = Handlers()
    handlers.step("a")(function)
    handler = handlers.get(Direction.ACTION, "a")
    assert handler is not None
    assert handler.is_async


def _no_parameter() -> None: ...


def _too_many(ctx: StepContext, request: Request, more: int) -> None: ...


def _keyword(ctx: StepContext, *, request: Request) -> None: ...


async def _generator(ctx: StepContext) -> AsyncIterator[int]:
    yield 1


def _unknown_type(ctx: StepContext, request: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the point


def _no_schema(ctx: StepContext, request: inspect.Signature) -> None: ...


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (_no_parameter, "must take"),
        (_too_many, "must take"),
        (_keyword, "must take"),
        (_generator, "generator"),
        (_unknown_type, "Missing"),
        (_no_schema, "pydantic"),
    ],
)
def test_a_bad_signature_names_the_function(function: Any, problem: str) -> None:
    """What cannot be a handler is refused where it is decorated, with file and line."""
    line = function.__code__.co_firstlineno
    with pytest.raises(DefinitionError, match=problem) as caught:
        Handlers().step("a")(function)
    assert f"{function.__name__} (" in str(caught.value)
    assert f"{__file__}:{line})" in str(caught.value)


def test_a_name_is_registered_once() -> None:
    """A second handler for a name is refused; the error names both."""
    handlers = Handlers()
    handlers.step("payment.charge")(_model)
    with pytest.raises(DefinitionError) as caught:
        handlers.step("payment.charge")(_optional)
    assert "_model (" in str(caught.value)
    assert "_optional (" in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a..b", "step.*", "x" * 201, None, _model])
def test_names_are_words_joined_by_dots(name: Any) -> None:
    """A name that no routing key can carry is refused."""
    with pytest.raises(DefinitionError, match="joined by dots"):
        Handlers().step(name)


def test_a_service_name_fits_a_queue() -> None:
    """A service's name is part of its queues' names."""
    with pytest.raises(DefinitionError, match="service"):
        Handlers("no spaces")


def test_only_functions_are_handlers() -> None:
    """Something that cannot be called is refused."""
    with pytest.raises(DefinitionError, match="no function"):
        Handlers().step("a")(17)  # type: ignore[type-var]  # the point


def test_a_first_argument_that_is_no_context_is_refused() -> None:
    """Who forgets ``ctx`` is told where, not by a TypeError in the middle of a run."""
    handlers = Handlers()
    with pytest.raises(DefinitionError, match="the first argument is the StepContext"):

        @handlers.step("payment.charge")
        async def charge(order: dict) -> None: ...
