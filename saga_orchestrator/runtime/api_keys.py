"""Making API keys, and recognising them again."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.ports.keys import ApiKey, ApiKeys, Role

KEY_BYTES = 32
PREFIX = "saga_"
"""So that scanners for secrets find a key that was committed by mistake."""

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}\Z")


async def issue_key(keys: ApiKeys, name: str, role: Role) -> tuple[str, ApiKey]:
    """Make a key and keep its digest.

    Args:
        keys: the store's.
        name: who will use it; histories name it.
        role: what it is good for.

    Returns:
        The key itself, which nobody can tell again, and what is kept of it.

    Raises:
        ConfigurationError: the name is not 1 to 64 letters, digits and ``._@-``.
        KeyNameTakenError: there is one of this name, good or revoked.
    """
    if not _NAME.match(name):
        raise ConfigurationError(
            f"key: the name {name!r} is not 1 to 64 letters, digits, '.', '_', '@', '-'"
        )
    text = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    return text, await keys.add(name, digest_of(text), role)


async def recognise(keys: ApiKeys, text: str) -> ApiKey | None:
    """Return the key that a caller has shown; None: it is none, or was revoked."""
    digest = digest_of(text)
    key = await keys.find(digest)
    if key is None or key.revoked_at is not None:
        return None
    # The index found it by its digest, which a caller cannot steer; compared once
    # more in constant time, so that nothing rests on how a store compares.
    return key if hmac.compare_digest(key.digest, digest) else None


def digest_of(text: str) -> str:
    """Return a key's SHA-256, as hex."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
