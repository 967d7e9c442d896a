"""Where a server listens; without the framework, which takes a while to load."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Self

from saga_orchestrator.errors import ConfigurationError

LOOPBACK = "127.0.0.1"

_ADDRESS = re.compile(r"(?:(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*):)?(\d{1,5})\Z")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens.

    Attributes:
        host: a name or an address.
        port: 0: any that is free.
        setting: what an error is to name.
    """

    host: str
    port: int
    setting: str = "http"

    @classmethod
    def parse(cls, text: str, setting: str = "http") -> Self:
        """Read ``HOST:PORT``; without a host only this machine can call.

        Raises:
            ConfigurationError: it is no address; says how one looks.
        """
        found = _ADDRESS.match(text)
        if found is None or int(found[2]) > 65535:  # noqa: PLR2004 - the last port
            raise ConfigurationError(
                f"{setting}: {text!r} is no address; use HOST:PORT, as "
                "127.0.0.1:8233, or [::1]:8233"
            )
        return cls((found[1] or LOOPBACK).strip("[]"), int(found[2]), setting)

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can call."""
        return is_loopback(self.host)


def listen(address: Address) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        ConfigurationError: it cannot be had.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host,
            address.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(place)
            listening.listen()  # else two of us may both have bound it
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"{address.setting}: cannot listen on {address.host}:{address.port}: "
            f"{error.strerror or error}; free the port, or name another"
        ) from error
    return listening


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address, or is meant by a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
