"""Exit codes: every error has one, and people can look them up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from saga_orchestrator import errors
from saga_orchestrator.cli.exits import MEANINGS, Exit, exit_of_error, exit_of_state
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.runtime.waiters import RESTING

_DOCS = Path(__file__).parents[3] / "docs" / "cli.md"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SagaNotFoundError("x"), 3),
        (errors.KeyConflict("order", "k", "x"), 4),
        (errors.TransitionRefused("x", "completed", "no"), 4),
        (errors.StoreLockedError(), 4),
        (errors.StoreUnavailableError(), 6),
        (errors.BrokerUnavailableError(), 6),
        (errors.SchemaVersionError(), 2),
        (errors.ConfigurationError(), 2),
        (errors.HandlerNotFoundError(), 2),
        (errors.PayloadError("context.a", "NaN"), 2),
        (errors.StoreDataError(), 1),
        (errors.MalformedMessageError(), 1),
    ],
)
def test_errors(error: errors.SagaError, code: int) -> None:
    """An error ends a command with the code of its kind."""
    assert exit_of_error(error) == code


def test_states() -> None:
    """A saga's end is an exit code; there is one for each state of rest."""
    codes = {state: exit_of_state(state) for state in RESTING}
    assert codes == {
        SagaState.COMPLETED: 0,
        SagaState.COMPENSATED: 10,
        SagaState.FAILED: 11,
    }


def test_every_code_is_documented() -> None:
    """`docs/cli.md` has the same table as the program."""
    rows = re.findall(r"^\| (\d+) \| (.*?) \|$", _DOCS.read_text(), re.MULTILINE)
    assert rows == [(str(code.value), MEANINGS[code]) for code in Exit]
