"""Which services' handlers this process has, and whether they fit a definition."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import ConfigurationError, HandlerNotFoundError
from saga_orchestrator.participant.handlers import Handler, Handlers

T = TypeVar("T")

LONG_ABOVE = dt.timedelta(minutes=15)
"""RabbitMQ takes a message back that is not acknowledged for 30 minutes."""


class Registry:
    """The handlers of one process, by service."""

    def __init__(self, services: Iterable[Handlers] = ()) -> None:
        """Collect the services.

        Raises:
            ConfigurationError: two services have one name, or one action has
                two handlers; names both.
        """
        self.services = checked_list("handlers", services, Handlers)
        names: set[str] = set()
        self._handlers: dict[tuple[Direction, str], Handler] = {}
        for service in self.services:
            if service.service in names:
                raise ConfigurationError(
                    f"handlers: two Handlers have the service name "
                    f"{service.service!r}; merge them or rename one"
                )
            names.add(service.service)
            for direction, action in _names(service):
                if (direction, action) in self._handlers:
                    raise ConfigurationError(
                        f"handlers: {action!r} is handled by two services; an "
                        "action belongs to one queue"
                    )
                handler = service.get(direction, action)
                assert handler is not None, "it was just listed"
                self._handlers[direction, action] = handler

    def get(self, direction: Direction, action: str) -> Handler | None:
        """Return the handler, if this process has one."""
        return self._handlers.get((direction, action))

    def check(self, definition: SagaDefinition) -> None:
        """Hold a definition against the handlers of this process.

        An action or compensation counts as this process's own when a handler
        here shares its first word (``payment.charge``, ``payment.refund``); the
        others belong to services elsewhere and show as unroutable when nobody
        runs them.

        Raises:
            HandlerNotFoundError: an own one has no handler; names the step.
            ConfigurationError: a handler cannot serve its step as declared.
        """
        own = {action.partition(".")[0] for _, action in self._handlers}
        for step in definition.steps:
            where = f"saga {definition.name!r}: step {step.name!r}"
            for direction, action in _needs(step):
                handler = self.get(direction, action)
                if handler is not None:
                    _check_handler(where, step, handler)
                elif action.partition(".")[0] in own:
                    raise HandlerNotFoundError(
                        f"{where}: {direction} {action!r} has no handler in this "
                        "process; register one, or run its whole service elsewhere"
                    )


def checked_list(name: str, given: object, kind: type[T]) -> tuple[T, ...]:
    """Return what must be a list of a kind.

    Raises:
        ConfigurationError: names the argument and the fix.
    """
    items = tuple(given) if isinstance(given, Iterable) else ()
    if not isinstance(given, Iterable) or not all(isinstance(i, kind) for i in items):
        raise ConfigurationError(
            f"{name}: must be a list of {kind.__name__}, as {name}=[mine]"
        )
    return items


def _names(service: Handlers) -> Iterator[tuple[Direction, str]]:
    for direction in Direction:
        for action in sorted(service.actions(direction)):
            yield direction, action


def _needs(step: Step) -> Sequence[tuple[Direction, str]]:
    needs = (
        (Direction.ACTION, step.action),
        (Direction.COMPENSATION, step.compensation),
    )
    return [(direction, action) for direction, action in needs if action]


def _check_handler(where: str, step: Step, handler: Handler) -> None:
    if step.timeout > LONG_ABOVE and not handler.long:
        raise ConfigurationError(
            f"{where}: timeout: {step.timeout} is over {LONG_ABOVE}; register the "
            f"handler of {handler.action!r} with long=True"
        )
    undo = handler.direction is Direction.COMPENSATION
    if undo and not handler.accepts_none and step.undo_failed != "never":
        raise ConfigurationError(
            f"{where}: compensation {handler.action!r} does not take None, which it "
            "gets when nobody knows whether the action happened; annotate its "
            "argument with '| None', or set undo_failed='never'"
        )
