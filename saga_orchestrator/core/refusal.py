"""What the rules raise when the table does not allow an operator's request."""

from __future__ import annotations


class Refusal(Exception):
    """The table does not allow the request; carries the reason and the fix."""
