"""The books: what the store must hold, told from the commits alone.

Every commit passes through here at its instant, with its decisions. The books
keep their own snapshots, outbox and history, judge each decision of the sagas
that changed (S1-S8, S12, S14, S17, S19, L2: see ``tests/support/judge``), and
answer the questions of the broker's seam (S10, S11). A breach ends the run.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from saga_orchestrator.core.decision import Decision, HistoryEntry, HistoryKind
from saga_orchestrator.core.events import Answered, Event, SagaStarted
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED, Direction, Phase, SagaState, StepState
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.records import OutboxRow, SagaRecord
from tests.simulation.ledger import Ledger
from tests.simulation.process import Bell
from tests.support.judge import Judge

RESTING = frozenset({SagaState.COMPLETED, SagaState.COMPENSATED, SagaState.FAILED})


class Books:
    """Everything that was committed.

    Attributes:
        sagas: the last snapshots.
        history: all entries, by saga.
        residuals: the last word on each, by saga and number.
        outbox: the commands not settled, with the end of their claims.
        confirmed: dispatches that a broker confirmed and did not return.
        decided: answers that were judged in a commit, by fence and kind.
        pruned: what was known of the sagas that were deleted.
        kinds: how often each kind of history entry was written.
        bell: rings when something is due earlier than it was.
        moved: rings at each commit.
    """

    def __init__(self, clock: Clock, ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self.sagas: dict[SagaId, Saga] = {}
        self.history: defaultdict[SagaId, list[HistoryEntry]] = defaultdict(list)
        self.residuals: dict[tuple[SagaId, int], Residual] = {}
        self.outbox: dict[Fence, dt.datetime] = {}
        self.confirmed: set[Fence] = set()
        self.decided: set[tuple[Fence, type[Event]]] = set()
        self.pruned: dict[SagaId, SagaRecord] = {}
        self.kinds: Counter[str] = Counter()
        self.bell = Bell()
        self.moved = Bell()
        self._sent: set[Fence] = set()
        self._keys: dict[tuple[str, str], SagaId] = {}
        self._judges: dict[SagaId, Judge] = {}

    # -- what is due ---------------------------------------------------------

    @property
    def now(self) -> dt.datetime:
        """The store's clock."""
        return self._clock.now()

    def next_lapse(self) -> dt.datetime | None:
        """Return when the first claim lapses."""
        return min(self.outbox.values(), default=None)

    def next_wake(self) -> dt.datetime | None:
        """Return when the first saga wants to be woken."""
        instants = (saga.wake_at for saga in self.sagas.values())
        return min((instant for instant in instants if instant), default=None)

    @property
    def is_at_rest(self) -> bool:
        """Whether no saga moves any more."""
        return all(saga.state in RESTING for saga in self.sagas.values())

    # -- the seams -----------------------------------------------------------

    def is_awaited(self, fence: Fence) -> bool:
        """Tell whether a dispatch is out and its answer, or a resend, is awaited."""
        saga = self.sagas.get(fence.saga_id)
        if saga is None or fence.step not in saga.plan.number:
            return False
        status = saga.status(fence.step)
        return status.generation == fence.generation and status.phase is Phase.SENT

    def was_sent(self, fence: Fence) -> bool:
        """Tell whether a dispatch was committed."""
        return fence in self._sent

    # -- commits -------------------------------------------------------------

    def commit(
        self,
        events: Sequence[Event],
        decisions: Sequence[Decision],
        settled: Sequence[Fence],
        lease: dt.timedelta,
    ) -> None:
        """Enter one transaction.

        Raises:
            AssertionError: an invariant is broken; its text names it.
        """
        now = self.now
        lapse, wake = self.next_lapse(), self.next_wake()
        for fence in settled:  # first: a resend of what is settled stays
            self.outbox.pop(fence, None)
        for event, decision in zip(events, decisions, strict=True):
            if isinstance(event, Answered):
                self.decided.add((event.fence, type(event)))
            self._enter(event, decision, now, lease)
        self._check_settled(settled)
        if _is_earlier(self.next_lapse(), lapse) or _is_earlier(self.next_wake(), wake):
            self.bell.ring()
        self.moved.ring()

    def settle(self, fences: Sequence[Fence]) -> None:
        """Take commands out of the outbox."""
        for fence in fences:
            self.outbox.pop(fence, None)
        self._check_settled(fences)

    def claim(self, rows: Sequence[OutboxRow], limit: int, lease: dt.timedelta) -> None:
        """Enter a relay's claims (S12): all that lapsed, and nothing else."""
        now = self.now
        lapsed = {fence for fence, until in self.outbox.items() if until <= now}
        claimed = {row.fence for row in rows}
        assert claimed <= lapsed, f"S12: claimed by two: {claimed - lapsed}"
        whole = len(rows) == limit or claimed == lapsed
        assert whole, f"L2: lapsed and not claimed: {lapsed - claimed}"
        self.keep(claimed, lease)

    def keep(self, fences: Iterable[Fence], lease: dt.timedelta) -> None:
        """Lengthen the claims of rows that are there."""
        until = self.now + lease
        for fence in fences:
            if fence in self.outbox:
                self.outbox[fence] = until

    def delete(self, record: SagaRecord) -> None:
        """Forget a saga (S18): one that ended, and of which nothing is open."""
        saga = self.sagas.pop(record.saga.id)
        assert saga.state in ENDED, "S18: deleted before its end"
        assert not saga.residuals, "S18: deleted with an open residual"
        waiting = [fence for fence in self.outbox if fence.saga_id == saga.id]
        assert not waiting, "S18: deleted with a command in the outbox"
        self._keys.pop((saga.name, saga.key or saga.id), None)
        self.pruned[saga.id] = record

    def _enter(
        self, event: Event, decision: Decision, now: dt.datetime, lease: dt.timedelta
    ) -> None:
        if isinstance(event, SagaStarted):
            self._check_start(event, decision)
        elif decision.saga is not None:
            assert decision.saga.id == event.saga_id, "S20: another saga changed"
        if decision.saga is None or decision.refusal is not None:
            assert not decision.changed, "a refusal changed something"
            return
        for part in decision.parts:
            if part.changed:
                cause = None if part.created else event
                self._judge(cause, part, now)
                self._keep(part, now + lease)

    def _check_settled(self, fences: Iterable[Fence]) -> None:
        """S10: what is settled was confirmed, or nobody awaits it any more."""
        for fence in fences:
            known = fence in self.confirmed or not self.is_awaited(fence)
            assert known, f"S10: {fence.text} settled, and never confirmed"

    def _check_start(self, event: SagaStarted, decision: Decision) -> None:
        name = (event.plan.definition.name, event.key or event.saga_id)
        known = self._keys.get(name)
        assert (known is None) == (decision.created or decision.saga is None), "S13"
        if decision.saga is not None:
            assert known in (None, decision.saga.id), "S13: one key, two sagas"
            self._keys[name] = decision.saga.id

    def _judge(self, event: Event | None, part: Decision, now: dt.datetime) -> None:
        saga = part.saga
        assert saga is not None, "it changed"
        judge = self._judges.get(saga.id)
        if judge is None:
            assert event is None, "S1: a saga that nobody started"
            judge = self._judges[saga.id] = Judge(
                saga.plan.definition, is_undo=saga.undoes is not None
            )
        judge.watch(self.sagas.get(saga.id), event, part, now)

    def _keep(self, part: Decision, claimed_until: dt.datetime) -> None:
        saga = part.saga
        assert saga is not None, "it changed"
        before = self.sagas.get(saga.id, saga)
        self.sagas[saga.id] = saga
        self.history[saga.id].extend(part.history)
        for entry in part.history:
            self.kinds[entry.kind] += 1
            if entry.data.get("error_type") == "UnstorableAnswer":
                error = entry.data["error"]
                assert "cannot be stored" in error, "F08: the store was only away"
            if entry.kind is HistoryKind.STEP_RESOLVED:
                self._do_by_hand(before, entry)
            if entry.kind is HistoryKind.RESIDUAL_UNDO_REQUESTED:
                self._take_back_by_hand(before, entry)
        for sent in part.dispatches:
            self._sent.add(sent.fence)
            self.outbox[sent.fence] = claimed_until
        if part.residual is not None:
            self.residuals[saga.id, part.residual.number] = part.residual

    def _do_by_hand(self, before: Saga, entry: HistoryEntry) -> None:
        """Do what an operator says was done: it counts from the commit on."""
        assert entry.step is not None, "a step was resolved"
        key = (before.undoes or before.id, entry.step)
        if before.direction is Direction.COMPENSATION:
            self._ledger.take_back(key)
        else:
            self._ledger.effect(key)

    def _take_back_by_hand(self, before: Saga, entry: HistoryEntry) -> None:
        """Note an operator who has a residual undone that the saga relies on.

        It was done by hand as well; in this world that is the same effect.
        """
        assert entry.step is not None, "a residual is about a step"
        if before.status(entry.step).state is StepState.COMPLETED:
            self._ledger.doubtful.add((before.id, entry.step))


def _is_earlier(now: dt.datetime | None, before: dt.datetime | None) -> bool:
    return now is not None and (before is None or now < before)
