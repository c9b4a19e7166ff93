"""Mail into a folder: every message a real .eml file that any mail program opens."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from pathlib import Path

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Letter
from ecokart.engines.mail_message import compose, safe_name


class DiskMail:
    """`Mail` onto the disk. The file is named by the message id, so sending again replaces it."""

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder, self._sender = folder, sender
        folder.mkdir(parents=True, exist_ok=True)

    async def send(self, letter: Letter, *, message_id: str) -> None:
        path = self._folder / f"{safe_name(message_id)}.eml"
        now = datetime.now().astimezone()
        content = compose(letter, sender=self._sender, message_id=message_id, at=now)
        try:
            await asyncio.to_thread(self._write, path, content)
        except OSError as error:
            raise Unavailable(f"The mail can't be written: {error}.") from error

    async def ping(self) -> str:
        if not os.access(self._folder, os.W_OK | os.X_OK):
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
