"""Retry policies: how often, and after which delay."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from saga_orchestrator.core.retry import COMPENSATION_RETRY, RetryPolicy
from saga_orchestrator.errors import DefinitionError
from tests.support.sagas import seconds


def test_defaults() -> None:
    """Three attempts, 1 s, doubled, at most 60 s; undos 20 attempts, at most 5 min."""
    policy = RetryPolicy()
    assert (policy.max_attempts, policy.multiplier, policy.jitter) == (3, 2.0, 0.2)
    assert (policy.initial_delay, policy.max_delay) == (seconds(1), seconds(60))
    assert COMPENSATION_RETRY.max_attempts == 20
    assert COMPENSATION_RETRY.max_delay == dt.timedelta(minutes=5)


def test_delays_double_up_to_the_cap() -> None:
    """Without jitter the delays are exact."""
    policy = RetryPolicy(jitter=0.0)
    delays = [policy.delay_after(attempt, 0.7).total_seconds() for attempt in (1, 2, 6)]
    assert delays == [1, 2, 32]
    assert policy.delay_after(7, 0.7) == policy.delay_after(10**9, 0.7) == seconds(60)


def test_initial_delay_above_the_cap() -> None:
    """What the user asked for is kept; it only grows no further."""
    policy = RetryPolicy(initial_delay=seconds(90), jitter=0.0)
    delays = [policy.delay_after(attempt, 0.5) for attempt in (1, 2, 9)]
    assert delays == [seconds(90)] * 3


@settings(deadline=None)
@given(
    attempt=st.integers(1, 5_000),
    multiplier=st.floats(1, 100),
    share=st.floats(0, 1, exclude_max=True),
    jitter=st.floats(0, 1),
)
# Slow growth: the delay goes on growing past the 64th attempt.
@example(attempt=500, multiplier=1.01, share=0.5, jitter=0.0)
def test_delay_is_the_formula(
    attempt: int, multiplier: float, share: float, jitter: float
) -> None:
    """Each delay is the one before times the multiplier, within the jitter's band."""
    policy = RetryPolicy(multiplier=multiplier, jitter=jitter)
    exponent = (attempt - 1) * math.log(multiplier)
    exact = 60.0 if exponent > math.log(60) else math.exp(exponent)
    delay = policy.delay_after(attempt, share).total_seconds()
    assert exact * (1 - jitter) - 1e-5 <= delay <= exact * (1 + jitter) + 1e-5
    assert delay == pytest.approx(exact * (1 + jitter * (2 * share - 1)), abs=1e-5)


def test_attempts() -> None:
    """``max_attempts`` counts the first one; None allows any number."""
    assert [RetryPolicy(max_attempts=2).allows(attempt) for attempt in (1, 2)] == [
        True,
        False,
    ]
    assert RetryPolicy(max_attempts=None).allows(10**6)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": -1}, "max_attempts"),
        ({"max_attempts": 2.5}, "max_attempts"),
        ({"initial_delay": seconds(-1)}, "initial_delay"),
        ({"initial_delay": 5}, "initial_delay"),
        ({"max_delay": seconds(-1)}, "max_delay"),
        ({"max_delay": dt.timedelta.max}, "max_delay"),
        ({"multiplier": 0.5}, "multiplier"),
        ({"multiplier": 101}, "multiplier"),
        ({"multiplier": math.nan}, "multiplier"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter": 1.1}, "jitter"),
        ({"jitter": math.nan}, "jitter"),
        ({"non_retryable": "CardDeclined"}, "non_retryable"),
        ({"non_retryable": 3}, "non_retryable"),
    ],
)
def test_numbers_that_make_no_policy(options: dict[str, Any], field: str) -> None:
    """A bad number is refused where the policy is made, naming the field."""
    with pytest.raises(DefinitionError, match=f"retry.*{field}"):
        RetryPolicy(**options)


def test_non_retryable_takes_any_list() -> None:
    """A list is frozen, so that the policy can be shared."""
    assert RetryPolicy(non_retryable=["A", "B"]).non_retryable == ("A", "B")  # type: ignore[arg-type] # a list is what people write
