"""The store's URL: what of it is ours, what is the driver's, what may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlencode

from saga_orchestrator.errors import ConfigurationError

POOL_DEFAULT = 10
POOL_MAX = 1000

SESSION_SETTINGS = {
    "application_name": "saga-orchestrator",
    "timezone": "UTC",
    "lock_timeout": "1s",
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "15s",
    # Every statement that runs often has its index. A planner that has seen no
    # statistics yet reads the small tables of a new database whole, and goes on
    # doing so while they grow: 3 ms a batch at 3,000 sagas, measured. Planning
    # anew each time costs a quarter of the commit of a single event.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
"""Sent when a connection is made; a URL may set others, or other values."""

LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
"""Those without which a session might wait for ever."""

_SECRET = re.compile(r"pass(word|wd)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is.

    Attributes:
        dsn: for the driver, as it came but for ``pool``.
        shown: for people: without passwords.
        pool_size: connections at most.
        settings: of each session, those that the URL does not set itself.
        target: which server of several will do: one that takes writes.
    """

    dsn: str
    shown: str
    pool_size: int
    settings: dict[str, str]
    target: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``postgresql://user:password@host:port/database?pool=10&…``.

        Further parameters are the driver's (``sslmode``, ``host``,
        ``target_session_attrs``) or settings of the session.

        Raises:
            ConfigurationError: ``pool`` is not a number in its range.
        """
        place, _, query = url.partition("?")
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        pool_size = _pool_size(parameters.pop("pool", str(POOL_DEFAULT)))
        visible = {
            name: "***" if _SECRET.search(name) else value
            for name, value in parameters.items()
        }
        return cls(
            dsn=_join(place, parameters),
            shown=_join(_masked(place), visible),
            pool_size=pool_size,
            settings={
                name: value
                for name, value in SESSION_SETTINGS.items()
                if name not in parameters
            },
            target=parameters.get("target_session_attrs", "read-write"),
        )


def _pool_size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= POOL_MAX:
        raise ConfigurationError(
            f"store: pool={text} is not a number from 1 to {POOL_MAX}"
        )
    return int(text)


def _masked(place: str) -> str:
    scheme, _, rest = place.partition("://")
    user, at, host = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{scheme}://{name}{':***' if colon else ''}{at}{host}"


def _join(place: str, parameters: dict[str, str]) -> str:
    return f"{place}?{urlencode(parameters, safe='/*')}" if parameters else place
