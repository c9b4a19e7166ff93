"""Mail into a folder: every message a real .eml file that any mail program opens."""

from __future__ import annotations

import asyncio
import os
import re
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from ecokart.core.errors import Unavailable


class DiskMail:
    """`Mail` onto the disk. The file is named by the message id, so sending again replaces it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def send(self, message: EmailMessage, *, message_id: str) -> None:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", message_id)
        try:
            await asyncio.to_thread(self._write, self._folder / f"{name}.eml", message)
        except OSError as error:
            raise Unavailable(f"The mail can't be written: {error}.") from error

    @staticmethod
    def _write(path: Path, message: EmailMessage) -> None:
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            file.write(message.as_bytes(policy=SMTP))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
