"""Bugs in the order of things: what the runtime and the store would do wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from saga_orchestrator.core.batch import Batch, decide_batch
from saga_orchestrator.core.events import Event
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.runtime import intake
from saga_orchestrator.runtime.intake import Intake
from saga_orchestrator.runtime.pipeline import CommitPipeline
from saga_orchestrator.runtime.publisher import Publisher
from saga_orchestrator.runtime.receiver import Receiver
from saga_orchestrator.runtime.returning import Returning
from saga_stores.memory import store as memory
from tests.mutants.mutant import Mutant, replacing

_take = Intake._take
_handle = Receiver._handle
_attempt = Publisher._attempt


class _Acked:
    """A delivery that was acknowledged already."""

    def __init__(self, delivery: Any) -> None:
        self._delivery = delivery

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    async def ack(self) -> None:
        """Do nothing."""


async def _ack_reply_first(self: Any, delivery: Any, queue: str, read: Any) -> None:
    await delivery.ack()
    await _take(self, _Acked(delivery), queue, read)


async def _ack_command_first(
    self: Any, delivery: Any, queue: str, service: Any
) -> None:
    await delivery.ack()
    await _handle(self, _Acked(delivery), queue, service)


async def _settle_first(self: Any, offers: dict[Any, Any]) -> None:
    self._pipeline.settle(list(offers))
    await _attempt(self, offers)


async def _unroutable_is_sent(self: Any, offers: list[Any], reason: str) -> None:
    del reason
    self._pipeline.settle([offer.fence for offer in offers])


async def _drops_what_waits(
    self: Any, waiting: list[Any], settled: list[Any], error: Exception
) -> None:
    del self, settled
    for one in waiting:
        if not one.future.done():
            one.future.set_exception(error)


class _StaleReads:
    """Decides on the snapshot before the last, as without a row lock."""

    def __init__(self) -> None:
        self._before: dict[str, Saga] = {}
        self._count = 0

    def __call__(
        self,
        events: Sequence[Event],
        loaded: Iterable[Saga],
        now: Any,
        *,
        tells_lifecycle: bool,
    ) -> Batch:
        self._count += 1
        sagas = list(loaded)
        stale = self._count % 5 == 0
        chosen = [self._before.get(s.id, s) if stale else s for s in sagas]
        self._before |= {saga.id: saga for saga in sagas}
        return decide_batch(events, chosen, now, tells_lifecycle=tells_lifecycle)


async def _nothing(*_: Any) -> None:
    """Do nothing."""


def _without_locks() -> AbstractContextManager[object]:
    return replacing((memory, "decide_batch", _StaleReads()))()


ORDER = (
    Mutant(
        "a reply is acknowledged before its commit",
        replacing((Intake, "_take", _ack_reply_first)),
    ),
    Mutant(
        "a command is acknowledged before its answer",
        replacing((Receiver, "_handle", _ack_command_first)),
    ),
    Mutant(
        "a command is settled before its confirm",
        replacing((Publisher, "_attempt", _settle_first)),
    ),
    Mutant(
        "an unroutable command counts as sent",
        replacing((Publisher, "_put_off", _unroutable_is_sent)),
    ),
    Mutant(
        "events are dropped when the store is away",
        replacing((CommitPipeline, "_put_back", _drops_what_waits)),
    ),
    Mutant("no row lock: a commit decides on an old snapshot", _without_locks),
    Mutant(
        "a forged answer is taken",
        replacing((intake, "is_genuine", lambda *_: True)),
    ),
    Mutant(
        "a frame that comes again is not split, and not run",
        replacing((Returning, "as_suspects", _nothing)),
    ),
)
