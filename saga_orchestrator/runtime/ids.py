"""New saga ids: ULIDs, so that ids sort by the time of the start."""

from __future__ import annotations

import random
from collections.abc import Callable

from ulid import ULID

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.ports.clock import Clock

NewId = Callable[[], SagaId]
_RANDOM_BYTES = 10


def ulids(clock: Clock, rng: random.Random) -> NewId:
    """Return a source of ids made of the clock's time and the generator's bits."""

    def new_id() -> SagaId:
        millis = int(clock.now().timestamp() * 1000)
        raw = millis.to_bytes(6, "big") + rng.randbytes(_RANDOM_BYTES)
        return SagaId(str(ULID.from_bytes(raw)))

    return new_id
