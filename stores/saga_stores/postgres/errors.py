"""What the driver raises, as the errors of the port.

Every statement of the store runs inside ``store_errors``, so no asyncpg
exception leaves it. The text of an error never has the row in it (PostgreSQL's
DETAIL), for that holds the user's data; the cause is attached.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.errors import (
    ConcurrencyError,
    ConfigurationError,
    StoreDataError,
    StoreError,
    StoreUnavailableError,
)
from saga_orchestrator.ports.cancellation import cancellation_first

# SQLSTATEs, or their classes (the first two characters).
_RETRIED = {
    "40001",  # serialization failure
    "40P01",  # deadlock
    "55P03",  # lock timeout
    "57014",  # statement timeout
}
_UNAVAILABLE = {
    "08",  # connection exception
    "25006",  # read only: a standby, or a primary that was demoted
    "25P03",  # idle in transaction for too long: the connection was cut
    "25P04",  # transaction timeout: the same
    "26",  # no such prepared statement: a pooler gave the session to another
    "28",  # wrong user or password
    "3D",  # no such database
    "42P05",  # such a prepared statement is there: the same
    "40003",  # whether it was committed is unknown
    "53",  # out of connections, disk or memory
    "57",  # shut down, crashed, starting up
    "58",  # the disk failed
}
_DATA = {
    "22",  # a value out of range, or that the encoding does not have
    "23",  # a constraint
    "54",  # a row, or an index entry, too big
}
_UNSUPPORTED = (
    asyncpg.UnsupportedClientFeatureError,
    asyncpg.UnsupportedServerFeatureError,
)
_START_RACES = {"sagas_pkey", "sagas_key"}

_POOLER = "a pooler shares sessions between clients; use its session mode"
_FIXES = {
    "08P01": "of a pooler: let it ignore this parameter, and ALTER ROLE … SET it",
    "26": _POOLER,
    "42P05": _POOLER,
    "25006": "give the address of the primary",
    "28": "check the user and the password",
    "3D": "create it with createdb, or correct the name",
}


@contextlib.contextmanager
def store_errors(shown: str) -> Iterator[None]:
    """Map the driver's errors.

    Args:
        shown: the store's URL without its password.

    Raises:
        asyncio.CancelledError: the task is being cancelled, whatever else went wrong.
        StoreUnavailableError: the server or the connection is gone.
        ConcurrencyError: another transaction was in the way.
        StoreDataError: the database refuses a value, or holds one that no program
            here can express.
        ConfigurationError: the URL makes no sense to the driver.
        StoreError: anything else.
    """
    try:
        with cancellation_first():
            yield
    except asyncpg.PostgresError as error:
        raise _from_server(error, shown) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise _from_driver(error, shown) from error
    except OverflowError as error:  # an instant that the driver cannot express
        raise StoreDataError(f"{shown}: a row cannot be read: {error}") from error
    except TimeoutError as error:
        raise StoreUnavailableError(f"no answer from {shown} in time") from error
    except OSError as error:
        raise StoreUnavailableError(
            f"cannot reach {shown}: {error}; check that the server runs there"
        ) from error


def _from_server(error: asyncpg.PostgresError, shown: str) -> StoreError:
    text = f"{shown}: {_text_of(error)}"
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return ConcurrencyError(f"{text}; a migration ran meanwhile")
    if _is_start_race(error):
        return ConcurrencyError(f"{text}; it was started by another meanwhile")
    code = error.sqlstate or ""
    for codes, kind in (
        (_RETRIED, ConcurrencyError),
        (_UNAVAILABLE, StoreUnavailableError),
        (_DATA, StoreDataError),
    ):
        if code in codes or code[:2] in codes:
            fix = _FIXES.get(code) or _FIXES.get(code[:2])
            return kind(f"{text}; {fix}" if fix else text)
    return StoreError(f"{text} (SQLSTATE {code})")


def _from_driver(error: Exception, shown: str) -> StoreError | ConfigurationError:
    text = f"{shown}: {error.args[0] if error.args else error!r}"
    if isinstance(error, asyncpg.ClientConfigurationError):
        return ConfigurationError(f"store: {text}")
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return StoreUnavailableError(
            f"{shown}: the server is a standby or read-only; {_FIXES['25006']}"
        )
    if isinstance(error, asyncpg.OutdatedSchemaCacheError):
        return ConcurrencyError(f"{text}; a migration ran meanwhile")
    if isinstance(error, _UNSUPPORTED):
        return StoreError(text)
    # What is left tells that the connection is closed, or is about to be: the
    # driver had read the server's last words, but not yet the end.
    return StoreUnavailableError(text)


def _text_of(error: asyncpg.PostgresError) -> str:
    text = str(error.args[0])
    # The driver's own refusal of an argument goes on with the whole argument.
    return text if error.severity else text.partition(": ")[0]


def _is_start_race(error: asyncpg.PostgresError) -> bool:
    """Tell whether a saga with the same id or key was committed meanwhile."""
    unique = isinstance(error, asyncpg.UniqueViolationError)
    return unique and error.constraint_name in _START_RACES
