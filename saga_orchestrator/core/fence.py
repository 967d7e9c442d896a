"""The fence: which dispatch of which step, and the proof that we sent it.

``generation`` numbers a step's dispatches in both directions and never
repeats, so a fence names one dispatch for ever. Redelivering and republishing
keep it; a retry takes the next. An answer is applied by comparing fences:
there is no inbox table, the fence is the inbox.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import Direction


@dataclass(frozen=True, slots=True, order=True)
class Fence:
    """One dispatch of one step.

    Attributes:
        saga_id: the saga.
        step: the step's name.
        direction: its action or its compensation.
        generation: counts from 1 over both directions of the step.
    """

    saga_id: SagaId
    step: str
    direction: Direction
    generation: int

    @property
    def text(self) -> str:
        """What tokens and jitter are made of."""
        return f"{self.saga_id}/{self.step}/{self.direction}/{self.generation}"

    @property
    def idempotency_key(self) -> str:
        """The same across attempts and redeliveries of one direction of a step."""
        return f"{self.saga_id}:{self.step}:{self.direction}"


def token_of(secret: bytes, fence: Fence) -> str:
    """Return the HMAC-SHA256 of the fence, the first 128 bits, as hex."""
    return hmac.new(secret, fence.text.encode(), hashlib.sha256).hexdigest()[:32]


def is_genuine(secret: bytes, fence: Fence, token: str) -> bool:
    """Tell, in constant time, whether the token was issued for the fence."""
    given = token.encode(errors="replace")  # a forged one may be any text
    return hmac.compare_digest(token_of(secret, fence).encode(), given)


def unit_interval(fence: Fence) -> float:
    """Return a number in [0, 1) that is fixed by the fence; jitter is made of it."""
    digest = hashlib.blake2b(fence.text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
