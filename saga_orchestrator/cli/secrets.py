"""Showing a setting without what must not be seen."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(://[^:/?#]*):[^/?#]*@")
_SECRET_OPTION = re.compile(
    r"([?&](?:ssl)?(?:password|secret|token)=)[^&#]*", re.IGNORECASE
)


def masked(url: str) -> str:
    """Return a URL with its passwords as ``***``."""
    return _SECRET_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
