"""The barrier: an effect happens once, and never after its undo.

A row in the participant's own database, written in the same transaction as the
effect, keyed by (saga, step, direction) and holding the output:

* a repeated action or undo answers from its row, without effect;
* a failed attempt rolls its row back, so a retry passes;
* the undo of an action that never ran claims the action's row and is done;
* an action that then arrives finds its row claimed: ``Superseded``.

``docs/barrier.md`` has the statements for other languages, and why they hold.
"""

from saga_orchestrator.participant.barrier.claim import Claim
from saga_orchestrator.participant.barrier.postgres import PostgresBarrier
from saga_orchestrator.participant.barrier.sqlite import SqliteBarrier

__all__ = ["Claim", "PostgresBarrier", "SqliteBarrier"]
