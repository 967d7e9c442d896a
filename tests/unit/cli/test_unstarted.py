"""What `saga doctor` tells a person to paste says what it seems to say."""

from __future__ import annotations

import pytest

from saga_orchestrator.cli.unstarted import _removal


@pytest.mark.parametrize(
    ("name", "told"),
    [("order", "'order'"), ("x' OR true --", "'x'' OR true --'")],
)
def test_a_name_with_a_quote_stays_a_name(name: str, told: str) -> None:
    """A planted name cannot make the statement delete other rows."""
    assert _removal("name", name) == f"DELETE FROM saga_starts WHERE name = {told}"
