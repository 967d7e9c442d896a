"""A short run; `make fuzz` makes a long one."""

from __future__ import annotations

import pytest

from tests.fuzz.run import fuzz


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_a_client_sends_the_answer_is_as_described():
    """Some 300 cases, single and in sequences, authenticated: every check holds."""
    report = fuzz(300, seed=20261129)
    assert report.cases >= 250
    assert report.is_clean, report
