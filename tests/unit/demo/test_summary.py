"""The numbers of a report."""

from __future__ import annotations

import pytest

from saga_orchestrator.demo.plan import Plan
from saga_orchestrator.demo.scenarios import SCENARIOS
from saga_orchestrator.demo.summary import percentile, without_login
from saga_orchestrator.errors import ConfigurationError


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (0.0, 1.0), (1.0, 100.0)]
)
def test_percentiles_are_values_that_occurred(share: float, expected: float) -> None:
    """The nearest rank, whatever the order of the values."""
    assert percentile([float(n) for n in range(100, 0, -1)], share) == expected


def test_no_values_have_no_percentile() -> None:
    """Where nothing ended the number is zero, not an error."""
    assert percentile([], 0.5) == 0


def test_a_report_has_no_password() -> None:
    """URLs are shown without user, password and options."""
    url = "postgresql://ann:secret@db:5432/sagas?password=secret"
    assert without_login(url) == "postgresql://db:5432/sagas"
    assert without_login("sqlite:////tmp/saga.db") == "sqlite:////tmp/saga.db"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"store": "memory://"}, "store"),
        ({"workers": 1}, "broker"),
        ({"orchestrators": 2, "store": "postgresql://db/x"}, "broker"),
        ({"orchestrators": 2, "broker": "amqp://mq"}, "store"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], named: str) -> None:
    """Processes share neither memory nor, as engines, a SQLite file."""
    base = {"sagas": 1, "seed": 1, "store": "sqlite:///x.db"}
    plan = Plan(scenario=SCENARIOS["order"], **{**base, **options})  # type: ignore[arg-type]  # a mix of types
    with pytest.raises(ConfigurationError, match=f"^{named}:"):
        plan.check()
