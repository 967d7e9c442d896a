"""For tests of sagas: play one from a script, in virtual time, with no server.

``given(definition, context, handlers=[...]).when(...).expect(...)``; see
``docs/testing.md``.
"""

from saga_orchestrator.testing import operating as operator
from saga_orchestrator.testing.call import Call
from saga_orchestrator.testing.clock import ManualClock
from saga_orchestrator.testing.expectation import Expected
from saga_orchestrator.testing.given import Given, given
from saga_orchestrator.testing.outcome import Outcome, Unexpected
from saga_orchestrator.testing.play import EndlessPlay, Play
from saga_orchestrator.testing.script import Line, action, undo

__all__ = [
    "Call",
    "EndlessPlay",
    "Expected",
    "Given",
    "Line",
    "ManualClock",
    "Outcome",
    "Play",
    "Unexpected",
    "action",
    "given",
    "operator",
    "undo",
]
