"""The fence: which dispatch of which step, and the proof that we sent it.

``generation`` numbers a step's dispatches in both directions and never
repeats, so a fence names one dispatch for ever. Redelivering and republishing
keep it; a retry takes the next. An answer is applied by comparing fences:
there is no inbox table, the fence is the inbox.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from msgspec import Struct

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import Direction

COMPLETION_PATTERN = r"(action|compensation)\.([1-9][0-9]{0,9})\.([0-9a-f]{32})"
_COMPLETION_PATTERN = re.compile(rf"{COMPLETION_PATTERN}\Z")


class Fence(Struct, frozen=True, order=True, cache_hash=True):
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


def completion_token(fence: Fence, token: str) -> str:
    """Return what an answer from outside proves itself with.

    It names the dispatch within its step, and carries the proof of it.
    """
    return f"{fence.direction}.{fence.generation}.{token}"


def read_completion_token(
    saga_id: SagaId, step: str, text: str
) -> tuple[Fence, str] | None:
    """Return the fence and the token that a completion token is made of.

    Args:
        saga_id: the saga that the answer names.
        step: the step that the answer names.
        text: what was given as the completion token.

    Returns:
        To be checked by ``is_genuine``; None: it has not the form of one.
    """
    found = _COMPLETION_PATTERN.match(text)
    if found is None:
        return None
    return Fence(saga_id, step, Direction(found[1]), int(found[2])), found[3]


def unit_interval(fence: Fence) -> float:
    """Return a number in [0, 1) that is fixed by the fence; jitter is made of it."""
    digest = hashlib.blake2b(fence.text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
