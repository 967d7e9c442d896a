"""A process that runs says what is wrong with it, once."""

from __future__ import annotations

from structlog.testing import capture_logs

from saga_orchestrator.cli.daemon import _log_changes


def test_problems_are_logged_when_they_come_and_go() -> None:
    """A problem is logged when it appears and when it is gone, not in between."""
    with capture_logs() as lines:
        known = _log_changes(set(), {"broker: blocked", "store: away"})
        known = _log_changes(known, {"broker: blocked", "store: away"})
        _log_changes(known, {"broker: blocked"})
    told = [(line["log_level"], line["event"], line["problem"]) for line in lines]
    assert told == [
        ("warning", "problem", "broker: blocked"),
        ("warning", "problem", "store: away"),
        ("info", "problem solved", "store: away"),
    ]
