"""Which file a URL names, and how safely it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from saga_orchestrator.errors import ConfigurationError

Synchronous = Literal["full", "normal"]

_FORMS = "use sqlite:///relative.db or sqlite:////absolute.db"
_SYNCHRONOUS: dict[str, Synchronous] = {"full": "full", "normal": "normal"}


@dataclass(frozen=True, slots=True)
class Location:
    """A database file.

    Attributes:
        url: as it was given; it holds no password.
        path: the file, absolute.
        synchronous: ``full``: a commit that was answered survives a power cut;
            ``normal``: the death of the process only, and is not waited for.
    """

    url: str
    path: Path
    synchronous: Synchronous = "full"

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return what a ``sqlite://`` URL names.

        Raises:
            ConfigurationError: no file, or an unknown option; says the form.
        """
        parts = urlsplit(url)
        if parts.netloc:
            raise ConfigurationError(
                f"store: {url!r} has a host name, two slashes too few; {_FORMS}"
            )
        name = unquote(parts.path.removeprefix("/"))
        if not name or name.endswith("/"):
            raise ConfigurationError(f"store: {url!r} names no file; {_FORMS}")
        if name == ":memory:":
            raise ConfigurationError(f"store: instead of {url!r} use memory://")
        options = parse_qs(parts.query, keep_blank_values=True)
        chosen = options.pop("synchronous", ["full"])[-1]
        if options or chosen not in _SYNCHRONOUS:
            raise ConfigurationError(
                f"store: {url!r} has an unknown option; the only one is "
                "?synchronous=normal (default: full)"
            )
        return cls(url, Path(name).resolve(), _SYNCHRONOUS[chosen])
