"""How one command goes, from the moment it is sent: what a script is made of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from saga_orchestrator.core.commands import Answer
from saga_orchestrator.core.payload import Json, normalise

NOW = dt.timedelta(0)


@dataclass(frozen=True, slots=True)
class Fate:
    """How one command goes.

    Attributes:
        times: how many commands go like this; None: all that follow.
        arrives_after: until then it waits in its queue.
        runs: how often the command is delivered; 0: it is lost.
        says: the answer; None: what the handler says, which is then run.
        hidden: the handler is run first, and its own answer is not told.
        answers: how often the answer arrives; 0: it is lost.
        answers_after: how long the run takes; None: the step's timeout.
        error: for people.
        error_type: what ``RetryPolicy.non_retryable`` compares.
        retryable: of a refusal.
        output: of a stand-in, or of the answer from outside.
        update: a stand-in's context update.
        delay: of *later*.
        outside_after: a deferred step's answer comes so long after.

    Raises:
        TypeError, ValueError: when made: a number, a duration or a text that is
            none.
        PayloadError: when made: an output or an update that is no JSON.
    """

    times: int | None = None
    arrives_after: dt.timedelta = NOW
    runs: int = 1
    says: Answer | None = None
    hidden: bool = False
    answers: int = 1
    answers_after: dt.timedelta | None = NOW
    error: str = ""
    error_type: str = ""
    retryable: bool = True
    output: Json = None
    update: Mapping[str, Json] = field(default_factory=dict)
    delay: dt.timedelta = NOW
    outside_after: dt.timedelta | None = None

    def __post_init__(self) -> None:
        """Refuse what could only fail in the middle of a play."""
        times: object = self.times
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError(f"times: must be at least 1, it is {times!r}")
        for text in (self.error, self.error_type):
            if not isinstance(text, str):
                raise TypeError(f"{text!r} is no text; write its message")
        check_duration(self.arrives_after)
        check_duration(self.delay)
        check_duration(self.answers_after)
        check_duration(self.outside_after)
        object.__setattr__(self, "output", normalise(self.output, "output"))
        object.__setattr__(self, "update", normalise(self.update, "update"))

    @property
    def is_well(self) -> bool:
        """Whether it only says how the step succeeds: nothing goes wrong."""
        return self.says is Answer.SUCCEEDED or replace(self, times=None) == WELL


def check_duration(value: object) -> None:
    """Refuse what is neither a duration nor None.

    Raises:
        TypeError, ValueError: tells what it is.
    """
    if value is None:
        return
    if not isinstance(value, dt.timedelta):
        raise TypeError(f"{value!r} is no duration; write timedelta(seconds=…)")
    if value < NOW:
        raise ValueError(f"{value!r} is in the past; nothing happens before its cause")


WELL = Fate()
