"""``ETag`` and ``If-Match``: a saga's version, and requests on one that was seen."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

IF_MATCH = r'^(\*|[0-9]{1,9}|"[0-9]{1,9}")$'
"""The quotes belong to it; who writes it by hand may forget them."""

_IfMatchHeader = Annotated[
    str | None,
    Header(
        pattern=IF_MATCH,
        alias="If-Match",
        description="The ETag of the saga that you have seen; 412 where it has "
        "gone on since. `*`, or nothing: whatever it is at.",
        examples=['"7"'],
    ),
]


def etag(version: int) -> str:
    """Return the ETag of a saga at a version: that of its last history entry."""
    return f'"{version}"'


async def _seen(if_match: _IfMatchHeader = None) -> int | None:
    if if_match is None or if_match == "*":
        return None
    return int(if_match.strip('"'))


SeenVersion = Annotated[int | None, Depends(_seen)]
"""The version that the caller has seen; None: whatever it is."""
