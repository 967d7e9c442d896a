"""One served shop per test; faults are the point of many, their log lines are not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.unit.api.stage import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.api.stage import Served


@pytest.fixture(autouse=True)
def _quiet():
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
    yield
    structlog.reset_defaults()


@pytest.fixture
async def shop() -> AsyncIterator[Served]:
    """A served shop without keys, for whoever is on the machine."""
    async with served() as one:
        yield one
