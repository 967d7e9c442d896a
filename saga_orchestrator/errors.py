"""Every error this project raises, in one hierarchy.

``SagaError`` is the base. Each error also inherits the built-in that a caller
would expect (``ValueError``, ``LookupError``), carries the ids it is about as
attributes, and says in its text which field is wrong and how to mend it.

Replies that are late, repeated or out of order are *not* errors: at-least-once
delivery makes them normal, so the core answers them with a decision.
"""

from __future__ import annotations


class SagaError(Exception):
    """Base of every error of ours."""


class ConfigurationError(SagaError, ValueError):
    """A setting is missing, unknown or contradictory; names the setting."""


class DefinitionError(SagaError, ValueError):
    """A saga definition cannot run as written; names the saga and the step."""


class HandlerNotFoundError(DefinitionError, LookupError):
    """A definition names an action or a compensation that nobody here handles."""


class PayloadError(SagaError, ValueError):
    """A value cannot travel as JSON; names where in the value, and the fix.

    Attributes:
        path: the place inside the payload, as ``context.items[3].price``.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class KeyConflict(SagaError, ValueError):
    """The start key is taken by a saga that was started with another body.

    Attributes:
        name: the saga name the key is unique under.
        key: the key.
        saga_id: the saga that holds it.
    """

    def __init__(self, name: str, key: str, saga_id: str) -> None:
        super().__init__(
            f"key {key!r} of saga {name!r} belongs to saga {saga_id}, which was "
            "started with another context or other steps; use another key, or the "
            "same context"
        )
        self.name = name
        self.key = key
        self.saga_id = saga_id


class TransitionRefused(SagaError):
    """An operator's event that the state table does not allow; nothing changed.

    Attributes:
        saga_id: the saga.
        state: the state it is in.
        problem: why not.
    """

    def __init__(self, saga_id: str, state: str, problem: str) -> None:
        super().__init__(f"saga {saga_id} is {state}: {problem}")
        self.saga_id = saga_id
        self.state = state
        self.problem = problem


class StoreError(SagaError):
    """The store could not do it. ``retryable`` says whether to try again."""

    retryable = False


class StoreUnavailableError(StoreError):
    """The store cannot be reached, or the answer to a commit was lost.

    Running the same events again is safe: each is a compare-and-set.
    """

    retryable = True


class ConcurrencyError(StoreError):
    """Deadlock, lock timeout or serialisation failure; nothing was written."""

    retryable = True


class StoreDataError(StoreError):
    """The store refused a value or cannot read one back; never retried."""


class NewerDataError(StoreDataError):
    """A row that a newer release wrote; that release can read it, this one cannot."""


class StoreLockedError(StoreError):
    """Another engine already runs on this single-engine store."""


class SchemaVersionError(StoreError):
    """The schema is older or newer than this code; ``saga migrate`` tells."""


class SagaNotFoundError(StoreError, LookupError):
    """No such saga.

    Attributes:
        saga_id: what was asked for.
    """

    def __init__(self, saga_id: str) -> None:
        super().__init__(f"no saga {saga_id}")
        self.saga_id = saga_id


class SagaAlreadyExistsError(StoreError):
    """A saga with this id exists; saving never updates.

    Attributes:
        saga_id: the id that is taken.
    """

    def __init__(self, saga_id: str) -> None:
        super().__init__(f"saga {saga_id} exists already")
        self.saga_id = saga_id


class BrokerError(SagaError):
    """The broker could not do it."""


class BrokerUnavailableError(BrokerError):
    """The broker cannot be reached; ``problem`` is safe to show."""


class TopologyError(BrokerError):
    """A queue or an exchange exists with another type or other arguments."""


class MessageError(SagaError, ValueError):
    """A message that can never be processed; it goes to the dead letters."""


class MalformedMessageError(MessageError):
    """Not JSON, not our envelope, or a field is wrong; names the field."""


class UnsupportedVersionError(MessageError):
    """An envelope of a version that this code does not speak."""


class ForgedReplyError(MessageError):
    """A reply whose token was not issued by this store."""
