"""A certificate for 127.0.0.1, signed by itself."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where it and its key are.

    Attributes:
        certificate: also what a client trusts.
        key: without a password.
    """

    certificate: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Make one, with the ``openssl`` of the machine."""
    made = Certificate(folder / "server.crt", folder / "server.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", str(made.certificate), "-keyout", str(made.key)),
        ],
        check=True,
        capture_output=True,
    )
    return made
