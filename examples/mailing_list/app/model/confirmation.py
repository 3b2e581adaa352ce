"""Addresses that only the person a confirmation was sent to can know.

Salmon's confirmation engine keeps its pending confirmations in a dict of one process: a
second worker would know nothing of them. An address that is signed needs no keeping; any
worker that has the secret can tell a true one.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from typing import Final

TOKEN_PATTERN: Final = "[0-9a-f]{32}"
"""What a token looks like, for a route. With ``LIST-confirm-`` it stays below the 64
characters that RFC 5321 allows before the ``@``."""


def secret_kept_in(path: str) -> bytes:
    """Return the secret in the file, made at the first call, the same after a restart."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as new:
            new.write(secrets.token_bytes(32))
    with open(path, "rb") as kept:
        return kept.read()


def token_for(secret: bytes, list_name: str, address: str) -> str:
    """Return what this person must send back to be on this list."""
    # An address out of a broken header may hold what UTF-8 has no bytes for.
    signed = f"{list_name}\0{address}".encode("utf-8", "surrogatepass")
    return hmac.new(secret, signed, hashlib.sha256).hexdigest()[:32]


def is_token_for(secret: bytes, list_name: str, address: str, token: str) -> bool:
    """Tell whether the token is this person's for this list."""
    return hmac.compare_digest(token_for(secret, list_name, address), token.lower())
