"""Cursors: where a list goes on, opaque to clients and good for that list only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from saga_orchestrator.api.problems import Problem, invalid

CURSOR = r"^[A-Za-z0-9_-]{1,200}$"
_PROOF_BYTES = 12


class Cursors:
    """Makes and reads the cursors of one store."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def encode(self, which: object, position: str) -> str:
        """Return the cursor for going on after a position.

        Args:
            which: the list and its filters, as JSON; a cursor is good for these.
            position: of the page's last row.
        """
        raw = self._proof(which, position) + position.encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def decode(self, which: object, cursor: str) -> str:
        """Return the position in a cursor.

        Raises:
            Problem: it was not made here, or for another list.
        """
        padded = cursor + "=" * (-len(cursor) % 4)
        try:
            raw = base64.b64decode(padded, altchars=b"-_", validate=True)
            position = raw[_PROOF_BYTES:].decode()
        except (binascii.Error, ValueError):
            raise _unknown_cursor() from None
        if not hmac.compare_digest(raw[:_PROOF_BYTES], self._proof(which, position)):
            raise _unknown_cursor()
        return position

    def _proof(self, which: object, position: str) -> bytes:
        text = json.dumps(["cursor", which, position], sort_keys=True)
        made = hmac.new(self._secret, text.encode(), hashlib.sha256)
        return made.digest()[:_PROOF_BYTES]


def _unknown_cursor() -> Problem:
    return invalid(
        "query.cursor",
        "was not returned by this list with these filters; leave it out to begin anew",
    )
