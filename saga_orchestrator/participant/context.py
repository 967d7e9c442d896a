"""What a handler knows of its saga, and what it may add to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cached_property

import structlog

from saga_orchestrator.core.commands import Command
from saga_orchestrator.core.fence import completion_token
from saga_orchestrator.core.payload import (
    NESTING_MAX,
    PAYLOAD_BYTES_MAX,
    Json,
    encode,
    normalise,
)
from saga_orchestrator.core.public import EMISSIONS_MAX, Emission, is_event_type
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import PayloadError
from saga_orchestrator.participant.values import copy


class StepContext:
    """One run of a handler.

    Attributes:
        saga_id: the saga that the effect belongs to. ``fence`` names another
            one where a residual is undone, by a saga of its own.
        saga_name: its definition's name.
        step: the step's name.
        direction: the step's action, or its compensation.
        attempt: the retry policy's count, from 1.
        is_known: in a compensation, whether the action is known to have happened;
            its output may be None all the same.
        fence: which dispatch this is; with ``token``, what a deferred answer
            must carry.
        token: proof that the orchestrator sent the command.
    """

    def __init__(
        self, command: Command, *, now: dt.datetime, bytes_max: int = PAYLOAD_BYTES_MAX
    ) -> None:
        self.fence = command.fence
        self.token = command.token
        self.saga_id = command.owner
        self.saga_name = command.saga_name
        self.step = command.fence.step
        self.direction: Direction = command.fence.direction
        self.attempt = command.attempt
        self.is_known = command.is_known
        self._command = command
        self._now = now
        self._bytes_max = bytes_max
        self._updates: dict[str, Json] = {}
        self._emitted: list[Emission] = []
        self._claims: dict[object, bool] = {}

    # Made on first use: few handlers ask.

    @cached_property
    def deadline(self) -> dt.datetime:
        """Aware instant after which nobody waits for the answer.

        The earliest of the run's timeout, the step's limit and the saga's deadline.
        """
        command = self._command
        ends = [self._now + command.timeout, command.expires_at]
        if command.deadline_at is not None:
            ends.append(command.deadline_at)
        return min(ends)

    @cached_property
    def idempotency_key(self) -> str:
        """The same across attempts and redeliveries of this direction of the step.

        Pass it on to services that take one.
        """
        return self._command.idempotency_key

    @cached_property
    def action_key(self) -> str:
        """The action's key: how an undo without an output finds what to undo."""
        return self._command.action_key

    # Copies, for in the orchestrator's process a command shares its data with
    # the snapshot that it was built from.

    @cached_property
    def context(self) -> Mapping[str, Json]:
        """The saga's context when the step was first sent; ``update`` changes it."""
        return copy(self._command.context)  # type: ignore[no-any-return]  # JSON

    @cached_property
    def input(self) -> Json:
        """The action's argument as JSON; a compensation sees it too."""
        return copy(self._command.input)

    @cached_property
    def output(self) -> Json:
        """In a compensation the action's output as JSON; None: nobody knows."""
        return copy(self._command.output)

    @cached_property
    def outputs(self) -> Mapping[str, Json]:
        """The outputs of the steps that this one directly depends on."""
        return copy(self._command.outputs)  # type: ignore[no-any-return]  # JSON

    @cached_property
    def logger(self) -> structlog.typing.FilteringBoundLogger:
        """A logger that says which saga, step and attempt a line is about."""
        logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(
            "saga_orchestrator.handler"
        )
        if self.fence.saga_id != self.saga_id:
            logger = logger.bind(undo_saga_id=self.fence.saga_id)
        return logger.bind(
            saga_id=self.saga_id,
            step=self.step,
            direction=str(self.direction),
            attempt=self.attempt,
        )

    @property
    def completion_token(self) -> str:
        """What an answer from outside must carry, where the handler is ``Deferred``.

        Opaque, and a capability: who has it can answer for this run. It goes with
        ``fence.saga_id`` and ``step`` to ``Manager.complete_step`` or to the HTTP API.
        """
        return completion_token(self.fence, self.token)

    def update(self, values: Mapping[str, Json]) -> None:
        """Merge these keys into the saga's context, together with the answer.

        Per top-level key; the last commit wins, None deletes a key. A refusal
        (``StepFailed``) and ``Skip`` are answers too; with any other exception
        nothing is merged.

        Raises:
            PayloadError: a value cannot travel as JSON; names the key.
        """
        merged = {**self._updates, **values}
        self._updates = normalise(merged, "update", bytes_max=self._bytes_max)

    @property
    def updates(self) -> Mapping[str, Json]:
        """What ``update`` gathered."""
        return self._updates

    def emit(self, event_type: str, payload: Json = None) -> None:
        """Emit an event for others, together with the answer.

        It is published if and when the answer is applied, and never without it: a
        success or ``Skip``; not a refusal or another exception, and not an answer
        that comes twice or too late. At least once: readers drop by its id what
        they have had.

        Args:
            event_type: as ``payment.charged``: a letter, then letters, digits, ``_``,
                ``.`` and ``-``, at most 100.
            payload: JSON; all of a run together are held to the limits of one.

        Raises:
            PayloadError: a bad type, a payload that cannot travel as JSON, or more
                than 100 events in one run; nothing was added.
        """
        if not is_event_type(event_type):
            raise PayloadError(
                "event_type",
                f"is {event_type!r:.120}; use a letter, then letters, digits, '_', '.' "
                "and '-', at most 100, as 'payment.charged'",
            )
        if len(self._emitted) >= EMISSIONS_MAX:
            raise PayloadError(
                "events", f"are {EMISSIONS_MAX}, the limit of one run; emit fewer"
            )
        path = f"event {event_type}"
        plain = normalise(payload, path, bytes_max=self._bytes_max)
        together = [*(one.payload for one in self._emitted), plain]
        encode(
            together, "events", bytes_max=self._bytes_max, nesting_max=NESTING_MAX + 1
        )
        self._emitted.append(Emission(event_type, plain))

    @property
    def emitted(self) -> tuple[Emission, ...]:
        """What ``emit`` gathered."""
        return tuple(self._emitted)

    # What barriers tell the answer.

    def note_claim(self, barrier: object, *, is_new: bool) -> None:
        """Remember whether the barrier let this run have its effect."""
        self._claims[barrier] = is_new

    def is_noted(self, barrier: object) -> bool:
        """Tell whether this run went through the barrier already."""
        return barrier in self._claims

    @property
    def had_effect(self) -> bool:
        """False only where barriers know that this run changed nothing."""
        return not self._claims or any(self._claims.values())
