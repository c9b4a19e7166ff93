"""Mail into a folder: every message a real .eml file that any mail program opens."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime, parseaddr
from pathlib import Path

from ecokart.core.errors import Unavailable


class DiskMail:
    """`Mail` onto the disk. The file is named by the message id, so sending again replaces it."""

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder, self._sender = folder, sender
        folder.mkdir(parents=True, exist_ok=True)

    async def send(self, message: EmailMessage, *, message_id: str) -> None:
        name = _name(message_id)
        envelope = EmailMessage(policy=SMTP)
        envelope["From"] = self._sender
        envelope["Date"] = localtime()
        envelope["Message-ID"] = f"<{name}@{parseaddr(self._sender)[1].rpartition('@')[2]}>"
        content = envelope.as_bytes().rstrip() + b"\r\n" + message.as_bytes(policy=SMTP)
        try:
            await asyncio.to_thread(self._write, self._folder / f"{name}.eml", content)
        except OSError as error:
            raise Unavailable(f"The mail can't be written: {error}.") from error

    async def ping(self) -> str:
        if not os.access(self._folder, os.W_OK):
            raise Unavailable(f"{self._folder} can't be written.")
        return f"files in {self._folder}"

    async def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


def _name(message_id: str) -> str:
    """The id where a file can be named so; else what can, and a digest, so that no two ids share a file."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", message_id)[:100]
    if name != message_id:
        name += "-" + hashlib.sha256(message_id.encode(errors="replace")).hexdigest()[:16]
    return name
