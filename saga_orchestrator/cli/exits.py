"""Exit codes: one table, for people's scripts. ``docs/cli.md`` repeats it."""

from __future__ import annotations

from enum import IntEnum

from saga_orchestrator.core.states import SagaState
from saga_orchestrator.errors import (
    ApiKeyNotFoundError,
    BrokerUnavailableError,
    ConfigurationError,
    DefinitionError,
    KeyConflict,
    KeyNameTakenError,
    PayloadError,
    SagaAlreadyExistsError,
    SagaError,
    SagaNotFoundError,
    SchemaVersionError,
    StoreLockedError,
    StoreUnavailableError,
    TopologyError,
    TransitionRefused,
)


class Exit(IntEnum):
    """What a command's exit code says."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 6
    TIMED_OUT = 7
    COMPENSATED = 10
    NEEDS_PERSON = 11
    STALE = 20
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done; for `start --wait` and `watch`: the saga completed",
    Exit.FAILURE: "failed; for `doctor`: something is wrong",
    Exit.USAGE: "wrong arguments, settings, definitions or schema",
    Exit.NOT_FOUND: "no such saga, or API key",
    Exit.CONFLICT: "refused: the saga's state, a taken key, or a locked store",
    Exit.UNREACHABLE: "the store or the broker cannot be reached; try again",
    Exit.TIMED_OUT: "waited long enough; the saga goes on",
    Exit.COMPENSATED: "the saga was undone",
    Exit.NEEDS_PERSON: "the saga stopped as failed: a person must look",
    Exit.STALE: "`stale --fail-on N`: so many sagas are stale",
    Exit.INTERRUPTED: "SIGINT (Ctrl-C); a clean stop of a daemon is 0",
    Exit.TERMINATED: "SIGTERM; a clean stop of a daemon is 0",
}

# The first match counts, so the special comes before the general.
_OF_ERROR: tuple[tuple[type[SagaError], Exit], ...] = (
    (SagaNotFoundError, Exit.NOT_FOUND),
    (ApiKeyNotFoundError, Exit.NOT_FOUND),
    (KeyNameTakenError, Exit.CONFLICT),
    (KeyConflict, Exit.CONFLICT),
    (TransitionRefused, Exit.CONFLICT),
    (StoreLockedError, Exit.CONFLICT),
    (SagaAlreadyExistsError, Exit.CONFLICT),
    (StoreUnavailableError, Exit.UNREACHABLE),
    (BrokerUnavailableError, Exit.UNREACHABLE),
    (SchemaVersionError, Exit.USAGE),
    (TopologyError, Exit.USAGE),
    (ConfigurationError, Exit.USAGE),
    (DefinitionError, Exit.USAGE),
    (PayloadError, Exit.USAGE),
    (SagaError, Exit.FAILURE),
)

_OF_STATE: dict[SagaState, Exit] = {
    SagaState.COMPLETED: Exit.OK,
    SagaState.COMPENSATED: Exit.COMPENSATED,
    SagaState.FAILED: Exit.NEEDS_PERSON,
}


def exit_of_error(error: SagaError) -> Exit:
    """Return the exit code of an error of ours."""
    return next(code for kind, code in _OF_ERROR if isinstance(error, kind))


def exit_of_state(state: SagaState) -> Exit:
    """Return the exit code of a saga that came to rest."""
    return _OF_STATE[state]
