"""The file behind a SQLite store, looked for before a client opens it.

A client must not make a store: in a wrong folder, or by a misspelt name, it
would be an empty one that no engine works on.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from saga_orchestrator.errors import ConfigurationError


def require_store_file(url: str) -> None:
    """Refuse a SQLite URL whose file is not there; other URLs pass.

    Raises:
        ConfigurationError: says what is missing, and the fix.
    """
    if not url.startswith("sqlite:///"):
        return
    file = Path(unquote(urlsplit(url).path.removeprefix("/")))
    fix = "run from the folder of `saga dev`, or set --store"
    if not file.parent.is_dir():
        raise ConfigurationError(f"the folder {file.parent} does not exist; {fix}")
    if not file.exists():
        raise ConfigurationError(f"there is no {file}; {fix}")
