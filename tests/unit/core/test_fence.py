"""The fence: what identifies a dispatch, and what proves that we sent it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.fence import Fence, is_genuine, token_of, unit_interval
from saga_orchestrator.core.ids import SagaId, is_saga_id
from saga_orchestrator.core.states import Direction
from tests.support.sagas import SAGA_ID

_FENCE = Fence(SAGA_ID, "charge", Direction.ACTION, 1)
_OTHERS = [
    replace(_FENCE, saga_id=SagaId("01JGFJJZ00000000000000000B")),
    replace(_FENCE, step="refund"),
    replace(_FENCE, direction=Direction.COMPENSATION),
    replace(_FENCE, generation=2),
]


def test_token_proves_its_fence() -> None:
    """A token is genuine for the fence and the secret it was made of."""
    token = token_of(b"secret", _FENCE)
    assert is_genuine(b"secret", _FENCE, token)
    assert not is_genuine(b"other", _FENCE, token)


@pytest.mark.parametrize("other", _OTHERS)
def test_token_covers_every_part(other: Fence) -> None:
    """A token of one dispatch is worthless for any other."""
    assert not is_genuine(b"secret", other, token_of(b"secret", _FENCE))


@pytest.mark.parametrize("token", ["", "0" * 32, "ä", "\ud800"])
def test_forged_token(token: str) -> None:
    """Any text may come over the wire; none of it raises."""
    assert not is_genuine(b"secret", _FENCE, token)


def test_token_is_stable() -> None:
    """Outstanding commands survive an upgrade, so the token's make never changes."""
    assert token_of(b"secret", _FENCE) == "37857d08035e33e8639c406956162aad"
    assert unit_interval(_FENCE) == pytest.approx(0.548203827411458)


def test_idempotency_key() -> None:
    """The key is the same across attempts, and another for the undo."""
    again, undo = _OTHERS[3], _OTHERS[2]
    assert _FENCE.idempotency_key == f"{SAGA_ID}:charge:action"
    assert again.idempotency_key == _FENCE.idempotency_key
    assert undo.idempotency_key == f"{SAGA_ID}:charge:compensation"


def test_unit_interval_spreads() -> None:
    """Jitter is fixed by the fence and evenly spread over [0, 1)."""
    shares = [unit_interval(replace(_FENCE, generation=i)) for i in range(1, 2001)]
    assert shares[0] == unit_interval(_FENCE)
    assert all(0 <= share < 1 for share in shares)
    assert abs(sum(shares) / len(shares) - 0.5) < 0.03
    assert len(set(shares)) == len(shares)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (SAGA_ID, True),
        (SAGA_ID.lower(), False),
        (SAGA_ID[:-1], False),
        (SAGA_ID + "\n", False),
        ("I" * 26, False),
        ("", False),
    ],
)
def test_saga_id_form(text: str, *, valid: bool) -> None:
    """A saga id is 26 characters of Crockford's base 32."""
    assert is_saga_id(text) is valid
