"""Names and ids as types, and the rules for their text."""

from __future__ import annotations

import re
from typing import NewType

SagaId = NewType("SagaId", str)
"""A ULID: 26 characters of Crockford's base 32."""

STEP_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
"""Step names stand in ``$ref`` paths, so they have no dot."""

ACTION_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z")
"""Action and compensation names are words of an AMQP routing key."""

ACTION_NAME_CHARS_MAX = 200
SAGA_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")
KEY_CHARS_MAX = 255
_SAGA_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}\Z")


def is_saga_id(text: str) -> bool:
    """Tell whether the text has the form of a saga id."""
    return _SAGA_ID.match(text) is not None
