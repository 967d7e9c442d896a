"""How often and when a failed attempt is made again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from saga_orchestrator.errors import DefinitionError

ATTEMPTS_MAX = 10_000
DELAY_MAX = dt.timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts and the delays between them.

    Attributes:
        max_attempts: attempts in all, the first included; None: no limit.
        initial_delay: the delay after the first attempt.
        multiplier: each delay is the one before times this.
        max_delay: delays grow no further than this, jitter aside; a longer
            ``initial_delay`` is kept as it is.
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
        attempts: object = self.max_attempts
        if attempts is not None and (
            type(attempts) is not int or not 1 <= attempts <= ATTEMPTS_MAX
        ):
            raise DefinitionError(
                f"retry.max_attempts: must be from 1 to {ATTEMPTS_MAX}, or None"
            )
        _check_delay("initial_delay", self.initial_delay)
        _check_delay("max_delay", self.max_delay)
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
        first = self.initial_delay.total_seconds()
        cap = max(self.max_delay.total_seconds(), first)
        try:
            seconds = min(first * self.multiplier ** (attempt - 1), cap)
        except OverflowError:
            seconds = cap if first else 0.0
        return dt.timedelta(seconds=seconds * (1 + self.jitter * (2 * share - 1)))


def _check_delay(field: str, value: object) -> None:
    if not isinstance(value, dt.timedelta):
        raise DefinitionError(
            f"retry.{field}: must be a timedelta, as timedelta(seconds=1)"
        )
    if not dt.timedelta(0) <= value <= DELAY_MAX:
        raise DefinitionError(f"retry.{field}: must be from 0 to 10 years")


COMPENSATION_RETRY = RetryPolicy(max_attempts=20, max_delay=dt.timedelta(minutes=5))
"""The default for compensations: an undo is worth many attempts."""
