"""Finding adapters by URL scheme, through entry points.

An installed package adds a store or a broker by an entry point in the group
``saga_orchestrator.stores`` or ``saga_orchestrator.brokers``, named after the
URL scheme. Nothing in the engine names a concrete one.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from saga_orchestrator.errors import ConfigurationError

STORES = "saga_orchestrator.stores"
BROKERS = "saga_orchestrator.brokers"


def adapter_for(group: str, setting: str, url: str) -> Any:  # noqa: ANN401 - a class
    """Return the class that handles the URL's scheme.

    Args:
        group: ``STORES`` or ``BROKERS``.
        setting: what errors call the URL, as ``store``.
        url: ``scheme://…``.

    Raises:
        ConfigurationError: no scheme, or one that nothing is installed for;
            names the ones that are.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    found = _installed(group)
    if scheme not in found:
        known = ", ".join(f"{name}://" for name in sorted(found))
        shown = f"the scheme {scheme!r}" if scheme else "a URL without a scheme"
        raise ConfigurationError(f"{setting}: {shown} is not known; use one of {known}")
    return found[scheme].load()


@functools.cache  # reading what is installed takes longer than opening a store
def _installed(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}
