"""Passwords: argon2id with OWASP's parameters, and bcrypt for the hashes that exist.

Hashing takes tens of milliseconds on purpose, so it runs in threads, no more at once than there are
cores: a flood of sign-ins can't take the whole machine's memory.
"""

from __future__ import annotations

import asyncio
import os
from functools import cache

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

# OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
_HASHER = PasswordHash(
    (Argon2Hasher(memory_cost=19 * 1024, time_cost=2, parallelism=1), BcryptHasher())
)
_SLOTS = asyncio.Semaphore(os.cpu_count() or 1)


async def hashed(password: str) -> str:
    async with _SLOTS:
        return await asyncio.to_thread(_HASHER.hash, password)


async def verify(password: str, password_hash: str | None) -> tuple[bool, str | None]:
    """Whether the password is right, and a new hash where the old one is of an older kind.

    Without a hash (no such account) it takes as long and says no.
    """
    async with _SLOTS:
        return await asyncio.to_thread(_verify, password, password_hash)


def _verify(password: str, password_hash: str | None) -> tuple[bool, str | None]:
    if password_hash is None:
        _HASHER.verify(password, _nobodys())
        return False, None
    if password_hash.startswith("$2"):
        # bcrypt never looked further than 72 bytes, and today's library refuses more.
        shortened = password.encode()[:72].decode(errors="ignore")
        try:
            right, _ = _HASHER.verify_and_update(shortened, password_hash)
        except ValueError:
            return False, None
        return right, _HASHER.hash(password) if right else None
    try:
        return _HASHER.verify_and_update(password, password_hash)
    except UnknownHashError:
        return False, None


@cache
def _nobodys() -> str:
    return _HASHER.hash("nobody has this password")
