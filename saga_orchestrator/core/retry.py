"""How often and when a failed attempt is made again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from saga_orchestrator.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts and the delays between them.

    Attributes:
        max_attempts: attempts in all, the first included; None: no limit.
        initial_delay: the delay after the first attempt.
        multiplier: each delay is the one before times this.
        max_delay: no delay is longer than this, jitter aside.
        jitter: each delay is varied by up to this share, 0 to 1.
        non_retryable: names of error types that end the step at once, as a
            definite refusal: the name of the exception's class.
    """

    max_attempts: int | None = 3
    initial_delay: dt.timedelta = dt.timedelta(seconds=1)
    multiplier: float = 2.0
    max_delay: dt.timedelta = dt.timedelta(seconds=60)
    jitter: float = 0.2
    non_retryable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers that make no policy.

        Raises:
            DefinitionError: names the field.
        """
        if self.max_attempts is not None and self.max_attempts < 1:
            raise DefinitionError("retry.max_attempts: must be at least 1, or None")
        if self.initial_delay < dt.timedelta(0) or self.max_delay < dt.timedelta(0):
            raise DefinitionError(
                "retry.initial_delay, max_delay: must not be negative"
            )
        if not 1.0 <= self.multiplier <= 100.0:  # noqa: PLR2004 - a sane bound
            raise DefinitionError("retry.multiplier: must be from 1 to 100")
        if not 0.0 <= self.jitter <= 1.0:
            raise DefinitionError("retry.jitter: must be from 0 to 1")
        names: object = self.non_retryable
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise DefinitionError(
                "retry.non_retryable: must be a list of names, as ('CardDeclined',)"
            )
        object.__setattr__(self, "non_retryable", tuple(names))

    def allows(self, attempt: int) -> bool:
        """Tell whether another attempt may follow attempt number ``attempt``."""
        return self.max_attempts is None or attempt < self.max_attempts

    def delay_after(self, attempt: int, share: float) -> dt.timedelta:
        """Return the delay between attempt ``attempt`` and the next.

        Args:
            attempt: counts from 1.
            share: in [0, 1), where in the jitter's band the delay falls; taken
                from the fence, so that the same history gives the same delay.
        """
        cap = self.max_delay.total_seconds()
        seconds = self.initial_delay.total_seconds()
        # The power alone can overflow long before the cap is applied.
        for _ in range(min(attempt - 1, 64)):
            seconds = min(seconds * self.multiplier, cap)
            if seconds >= cap:
                break
        seconds = min(seconds, cap)
        return dt.timedelta(seconds=seconds * (1 + self.jitter * (2 * share - 1)))


COMPENSATION_RETRY = RetryPolicy(max_attempts=20, max_delay=dt.timedelta(minutes=5))
"""The default for compensations: an undo is worth many attempts."""
