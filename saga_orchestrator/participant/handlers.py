"""Which function runs for which action or compensation.

One ``Handlers`` is one service: its name makes the names of its queues.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from saga_orchestrator.core.commands import Command
from saga_orchestrator.core.ids import ACTION_NAME, ACTION_NAME_CHARS_MAX
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import DefinitionError
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.signature import (
    Signature,
    describe,
    inspect_handler,
)
from saga_orchestrator.participant.values import InvalidInput, accepts_none, parse

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered function and how to run it.

    Attributes:
        direction: whether it does or undoes.
        action: the name of the action or the compensation.
        function: what the user wrote.
        signature: its shape and its adapters.
        long: acknowledged when accepted, kept alive by heartbeats.
        accepts_none: whether a compensation may be called without the output
            of its step. An unannotated argument, or none at all, accepts it.
    """

    direction: Direction
    action: str
    function: Callable[..., Any]
    signature: Signature
    long: bool
    accepts_none: bool

    @property
    def is_async(self) -> bool:
        """Whether the function is awaited; else it runs in a thread."""
        return self.signature.is_async

    def arguments(self, ctx: StepContext, command: Command) -> tuple[Any, ...]:
        """Return what to call the function with.

        Raises:
            InvalidInput: the argument does not fit; names the fields.
        """
        if not self.signature.takes_argument:
            return (ctx,)
        if self.direction is Direction.ACTION:
            return (ctx, parse(self.signature.argument, command.input))
        if command.output is None and not self.accepts_none:
            raise InvalidInput(
                f"the output of step {ctx.step!r} is not known, and the compensation "
                f"{self.action!r} does not take None"
            )
        return (ctx, parse(self.signature.argument, command.output))


class Handlers:
    """A service's handlers.

    A handler takes ``(ctx)`` or ``(ctx, request)``; pydantic reads ``request``
    and checks the result by the annotations. It may be async, or an ordinary
    function, which runs in a thread.

    Attributes:
        service: names the service's queues; empty: the default ones.

    Raises:
        DefinitionError: when made: ``service`` cannot be part of a queue's name.
    """

    def __init__(self, service: str = "") -> None:
        if service != "":
            _check_name("Handlers: service", service)
        self.service = service
        self._handlers: dict[tuple[Direction, str], Handler] = {}

    def step(self, action: str, *, long: bool = False) -> Callable[[F], F]:
        """Register the decorated function for an action.

        Args:
            action: as ``payment.charge``; what ``Step.action`` says.
            long: the run may take over 15 minutes.

        Raises:
            DefinitionError: a bad name, a name used twice, or a function whose
                signature does not fit; names the function, its file and line.
        """
        return self._register(Direction.ACTION, action, long=long)

    def compensation(self, action: str, *, long: bool = False) -> Callable[[F], F]:
        """Register the decorated function for a compensation.

        It is called with its step's output: None when nobody knows whether the
        action happened, so its argument should take None.

        Args:
            action: as ``payment.refund``; what ``Step.compensation`` says.
            long: the run may take over 15 minutes.

        Raises:
            DefinitionError: as for ``step``.
        """
        return self._register(Direction.COMPENSATION, action, long=long)

    def get(self, direction: Direction, action: str) -> Handler | None:
        """Return the handler, or None where this service has none."""
        return self._handlers.get((direction, action))

    def actions(self, direction: Direction) -> frozenset[str]:
        """Return the names handled in a direction."""
        return frozenset(name for way, name in self._handlers if way is direction)

    def _register(
        self, direction: Direction, action: str, *, long: bool
    ) -> Callable[[F], F]:
        _check_name("action" if direction is Direction.ACTION else direction, action)

        def register(function: F) -> F:
            handler = _handler(direction, action, function, long=long)
            known = self._handlers.setdefault((direction, action), handler)
            if known is not handler:
                raise DefinitionError(
                    f"{describe(function)}: {direction} {action!r} is already "
                    f"handled by {describe(known.function)}"
                )
            return function

        return register


def _handler(
    direction: Direction, action: str, function: Callable[..., Any], *, long: bool
) -> Handler:
    if not callable(function):
        raise DefinitionError(f"{direction} {action!r}: {function!r} is no function")
    signature = inspect_handler(function)
    return Handler(
        direction=direction,
        action=action,
        function=function,
        signature=signature,
        long=long,
        accepts_none=accepts_none(signature.argument),
    )


def _check_name(what: str, name: object) -> None:
    if (
        not isinstance(name, str)
        or not ACTION_NAME.match(name)
        or len(name) > ACTION_NAME_CHARS_MAX
    ):
        raise DefinitionError(
            f"{what}: {name!r} must be words of letters, digits, '_' or '-' joined "
            f"by dots, at most {ACTION_NAME_CHARS_MAX} characters, as 'payment.charge'"
        )
