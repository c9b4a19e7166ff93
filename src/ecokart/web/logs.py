"""The log: JSON lines on standard output, one a request, buffered so that a request never waits for it."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from ecokart.core.events import cause

FLUSH_SECONDS = 0.25
FULL_LINES = 2000
LINES_TOGETHER = 4096  # bytes: what a pipe takes in one piece, whoever else writes into it

_encode = msgspec.json.Encoder().encode


class RequestLine(msgspec.Struct, omit_defaults=True):
    """One request. No address, no query, no name: what is not logged needs no protection."""

    at: datetime
    level: str
    message: str
    method: str
    path: str
    status: int
    milliseconds: float
    bytes: int
    request_id: str


class LogWriter:
    """Collects lines and writes them together, a few times a second and at the end."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        threading.Thread(target=self._keep_flushing, name="log", daemon=True).start()
        atexit.register(self.flush)

    def write(self, line: Any) -> None:
        self._lines.append(_encode(line))
        if len(self._lines) > FULL_LINES:
            self._wake.set()

    def flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
            try:
                for part in _together(lines):
                    self._put_out(part)
            except OSError:
                return  # nobody reads the log any more; the shop goes on

    def _put_out(self, rest: bytes) -> None:
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _keep_flushing(self) -> None:
        while True:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            self.flush()


def _together(lines: list[bytes]) -> Iterator[bytes]:
    """Whole lines, as many at a time as are written in one piece; a longer one by itself."""
    part = b""
    for line in lines:
        if part and len(part) + len(line) >= LINES_TOGETHER:
            yield part
            part = b""
        part += line + b"\n"
    yield part


class JsonHandler(logging.Handler):
    """Everything that is logged by the standard library's means, in the same lines."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        line = {
            "at": datetime.now(UTC),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if request_id := cause.get():
            line["request_id"] = request_id
        for name in ("job", "timer", "room"):
            if value := getattr(record, name, None):
                line[name] = value
        if record.exc_info:
            line["trace"] = "".join(traceback.format_exception(*record.exc_info))
        self._writer.write(line)


def configure(level: str, descriptor: int | None = None) -> LogWriter:
    """Send all logging into one writer; gives back the writer for the request lines."""
    writer = LogWriter(sys.stdout.fileno() if descriptor is None else descriptor)
    root = logging.getLogger()
    root.handlers = [JsonHandler(writer)]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    return writer
