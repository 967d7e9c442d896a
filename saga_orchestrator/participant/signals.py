"""What a handler raises, or returns, to say something else than "done".

These are answers, not faults: none is a ``SagaError``. Any other exception
means that nobody knows whether the effect happened.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler


class HandlerSignal(Exception):
    """Base of what handlers say; raise it, or return it."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Let a handler's return annotation name a signal: ``Charge | Skip``."""
        return core_schema.is_instance_schema(cls)


class StepFailed(HandlerSignal):
    """A definite no: nothing happened, and the saga may rely on it.

    Subclass it to give the refusal a name; the name is the error type.

    Attributes:
        reason: for people.
        retryable: True: try again by the step's retry policy.
    """

    def __init__(self, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable


class RetryLater(HandlerSignal):
    """Not now: run the handler again later, at no attempt's cost.

    Whether anything happened stays open. If the saga turns back before a later run has
    answered, the step counts as unknown and is undone, with no output.

    Attributes:
        delay: how long to wait, at least.
        reason: for people.

    Raises:
        TypeError: when made: ``delay`` is not a timedelta.
        ValueError: when made: ``delay`` is negative.
    """

    def __init__(self, delay: dt.timedelta, reason: str = "") -> None:
        if not isinstance(delay, dt.timedelta):
            raise TypeError("RetryLater: delay must be a timedelta")
        if delay < dt.timedelta(0):
            raise ValueError("RetryLater: delay must not be negative")
        super().__init__(reason)
        self.delay = delay
        self.reason = reason


class Skip(HandlerSignal):
    """There is nothing to do: the step is skipped and will not be undone.

    In a compensation: there is nothing to undo.

    Attributes:
        reason: for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Deferred(HandlerSignal):
    """The work goes on elsewhere; the answer comes from outside.

    Whoever does the work must be given ``ctx.completion_token``, with
    ``ctx.fence.saga_id`` and ``ctx.step``: the answer carries all three. What the
    handler gave to ``ctx.update`` and ``ctx.emit`` is dropped: it is no answer yet.
    """


class Superseded(HandlerSignal):
    """The barrier holds this action's undo: it has no effect and never will.

    Raised by a barrier. Let it pass.
    """
