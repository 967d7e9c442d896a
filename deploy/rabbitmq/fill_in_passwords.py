"""Write definitions.json with the users' passwords, as hashes, to stdout.

    python3 fill_in_passwords.py SECRETS > /etc/rabbitmq/definitions.json

SECRETS is a folder with a file for each user, of the user's name, that holds the
password. A user without a file keeps an empty hash: it cannot log in.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
from pathlib import Path

DEFINITIONS = Path(__file__).with_name("definitions.json")


def hash_of(password: str) -> str:
    """Return RabbitMQ's hash: four bytes of salt, then the SHA-256 of both."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(
        salt + hashlib.sha256(salt + password.encode()).digest()
    ).decode()


def filled_in(definitions: Path, folder: Path) -> str:
    """Return the definitions with the passwords of a folder."""
    document = json.loads(definitions.read_text())
    for user in document["users"]:
        file = folder / user["name"]
        if file.exists():
            user["password_hash"] = hash_of(file.read_text().strip())
            user["hashing_algorithm"] = "rabbit_password_hashing_sha256"
    return json.dumps(document, indent=2)


if __name__ == "__main__":
    sys.stdout.write(filled_in(DEFINITIONS, Path(sys.argv[1])) + "\n")
