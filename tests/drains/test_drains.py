"""Twenty SIGTERMs at random moments: row F78 of the faults; `make drain` has more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.drains.run import run_drains

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 20


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_sigterm_at_random_moments(
    postgres_url: str, rabbit_url: str, tmp_path: Path
) -> None:
    """No attempt is used, nothing answered is done again, each ends in its time."""
    report = await run_drains(
        COUNT, 20, tmp_path, store=postgres_url, broker=rabbit_url
    )
    assert report.signals == COUNT
    assert report.at_work > 0
    assert report.interrupted > 0
    assert report.completed > 0
    assert report.compensated > 0
    assert report.is_good, report
