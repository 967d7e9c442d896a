"""The client library's errors, said in ours: nothing of it crosses the port."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq.exceptions import ChannelAccessRefused

from saga_orchestrator.errors import BrokerUnavailableError, TopologyError
from saga_orchestrator.ports.cancellation import (
    cancellation_first,
    is_cancelled_from_outside,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT_ERRORS = (TimeoutError, *CONNECTION_EXCEPTIONS)


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise our errors in place of the client library's.

    Args:
        doing: what is under way, for the message.

    Raises:
        asyncio.CancelledError: the task is being cancelled, whatever else went wrong.
        TopologyError: the broker has it with other arguments.
        BrokerUnavailableError: anything else.
    """
    try:
        with cancellation_first():
            yield
    except ChannelPreconditionFailed as error:
        text = _text(error)
        ours = "topic exchange" if "for exchange" in text else "quorum queue"
        raise TopologyError(
            f"{doing}: {text}; ours is a durable {ours}: delete the other one, or "
            "configure another name"
        ) from error
    except ChannelAccessRefused as error:
        raise BrokerUnavailableError(
            f"{doing}: {_text(error)}; permit it (rabbitmqctl set_permissions)"
        ) from error
    except asyncio.CancelledError as error:
        # When a connection is lost aiormq ends the calls on it with one of its own.
        if is_cancelled_from_outside():
            raise
        raise BrokerUnavailableError(f"{doing}: the connection was lost") from error
    except CLIENT_ERRORS as error:
        raise BrokerUnavailableError(f"{doing}: {_text(error)}") from error
    except Exception as error:
        # A bare one is how aiormq ends the calls on a connection that is closed
        # for no reason that it knows.
        if type(error) is not Exception:
            raise
        raise BrokerUnavailableError(f"{doing}: the connection was lost") from error


def masked(url: str) -> str:
    """Return the URL without its password, query and fragment."""
    before, at, rest = url.rpartition("@")
    scheme, _, login = before.partition("://")
    if at and set("/?#") & set(login):  # a password that was not escaped
        return f"{scheme}://***@{rest.partition('?')[0]}"
    parts = urlsplit(url)
    login = f"{parts.username}:***@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{login}{parts.hostname}{port}{parts.path}"


def is_refusal(error: BaseException | None) -> bool:
    """Tell whether the broker answered and said no: trying again will not help."""
    refusals = ProbableAuthenticationError, InvalidFrameError, ChannelAccessRefused
    return isinstance(error, refusals)


def unavailable(url: str, error: BaseException) -> BrokerUnavailableError:
    """Say why there is no connection, and what to do."""
    parts = urlsplit(url)
    if isinstance(error, ProbableAuthenticationError):
        problem = (
            f"the login {parts.username!r} was refused; check the user and the "
            "password in the broker URL (rabbitmqctl authenticate_user)"
        )
    elif isinstance(error, InvalidFrameError):
        # RabbitMQ closes the connection where the client expects Open-Ok
        vhost = unquote(parts.path[1:]) or "/"
        problem = (
            f"the virtual host {vhost!r} was refused; create it (rabbitmqctl "
            f"add_vhost), permit the user {parts.username!r} to enter it (rabbitmqctl "
            "set_permissions), or let it have more connections (rabbitmqctl "
            "set_vhost_limits)"
        )
    else:
        problem = f"{_text(error)}; is RabbitMQ running, and the address right?"
    return BrokerUnavailableError(f"no connection to {masked(url)}: {problem}")


def _text(error: BaseException) -> str:
    """Return an error's words; its type where it has none."""
    if isinstance(error, TimeoutError) and not error.args:
        return "no answer in time"
    return ": ".join(str(part) for part in error.args) or type(error).__name__
