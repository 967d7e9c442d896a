"""Showing a setting without what must not be seen."""

from __future__ import annotations

import re

# Up to the last @: a password in which / ? # @ were not escaped is one all the same.
_PASSWORD = re.compile(r"(://[^:@/?#]*):.*@")
_SECRET_OPTION = re.compile(
    r"([?&](?:ssl)?(?:password|secret|token)=)[^&#]*", re.IGNORECASE
)


def masked(url: str) -> str:
    """Return a URL with its passwords as ``***``."""
    return _SECRET_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
