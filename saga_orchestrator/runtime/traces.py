"""Which trace a saga belongs to: kept in the entry of its start.

Looked up only where this process traces; what was started or looked up here is
remembered, so that a saga costs one look-up a process at most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence

from msgspec.structs import replace

from saga_orchestrator.core.commands import Command
from saga_orchestrator.core.decision import Decision, HistoryKind
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.ports.store import Store
from saga_orchestrator.telemetry import tracing

SAGAS_MAX = 20_000


class Traces:
    """Remembers the traces of the latest sagas."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._of: OrderedDict[SagaId, str] = OrderedDict()

    def notice(self, decisions: Sequence[Decision]) -> None:
        """Keep the traces of sagas that were started here."""
        for decision in decisions:
            if not decision.created or decision.saga is None:
                continue
            for entry in decision.history:
                if entry.kind is HistoryKind.SAGA_STARTED:
                    self._keep(decision.saga.id, entry.data.get("traceparent"))

    async def mark(self, commands: list[Command]) -> list[Command]:
        """Return the commands with their sagas' traces, where this process traces.

        Raises:
            StoreError: they cannot be looked up now.
        """
        if not tracing.is_on():
            return commands
        await self._look_up({command.fence.saga_id for command in commands})
        return [
            replace(command, traceparent=self._of.get(command.fence.saga_id, ""))
            for command in commands
        ]

    async def _look_up(self, saga_ids: Collection[SagaId]) -> None:
        missing = [saga_id for saga_id in saga_ids if saga_id not in self._of]
        if not missing:
            return
        found = await self._store.traceparents(missing)
        for saga_id in missing:
            self._keep(saga_id, found.get(saga_id))

    def _keep(self, saga_id: SagaId, traceparent: object) -> None:
        self._of[saga_id] = traceparent if isinstance(traceparent, str) else ""
        if len(self._of) > SAGAS_MAX:
            self._of.popitem(last=False)
