"""A file of invoice lines, read row by row: CSV, also gzipped."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, Self

from ecokart.core.errors import Invalid

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
GZIP_MAGIC = b"\x1f\x8b"


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


# Files are UTF-8; a byte that can't be comes from an older program and is taken as Latin-1.
codecs.register_error("latin-1", _as_latin_1)


class UnreadableFile(Invalid):
    """This file can't be read."""


class Row(NamedTuple):
    """A record of a file, its values in the order of `COLUMNS`; `line` is the one where it begins.

    Where `flaw` says why it is no record, the values are what there is of it.
    """

    file: str
    line: int
    values: tuple[str, ...]
    flaw: str = ""


class InvoiceFile:
    """An open file of invoice lines. Raises `UnreadableFile` where it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._raw = path.open("rb")
            self.size_bytes = path.stat().st_size
        except OSError as error:
            raise UnreadableFile(f"{path} can't be read: {error.strerror}.") from None
        self._reader = csv.reader(self._text())
        try:
            self._places, self._width = self._read_header()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._raw.close()

    @property
    def position_bytes(self) -> int:
        """How far it is read; on the disk, so that it compares with `size_bytes`."""
        return self._raw.tell() if self._raw.seekable() else 0

    def rows(self) -> Iterator[Row]:
        """Every record behind the header, once. Lines without anything on them are none."""
        while True:
            line = self._reader.line_num + 1
            try:
                record = next(self._reader, None)
            except csv.Error as error:
                yield Row(str(self.path), line, ("",) * len(COLUMNS), f"This is no CSV: {error}.")
                continue
            except (OSError, EOFError, zlib.error) as error:
                raise self._broken(line, error) from None
            if record is None:
                return
            if record:
                yield self._row(line, record)

    def _text(self) -> IO[str]:
        packed = self._raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        source = gzip.GzipFile(fileobj=self._raw) if packed else self._raw
        # `newline=""` leaves the ends of lines to csv, which knows those inside quotes.
        return io.TextIOWrapper(source, "utf-8-sig", errors="latin-1", newline="")

    def _read_header(self) -> tuple[list[int], int]:
        try:
            header = next(filter(None, self._reader), None)
        except (csv.Error, OSError, EOFError, zlib.error) as error:
            raise self._broken(1, error) from None
        if header is None:
            raise UnreadableFile(f"{self.path} is empty.")
        names = [name.strip().casefold() for name in header]
        if missing := [name for name in COLUMNS if name.casefold() not in names]:
            raise UnreadableFile(
                f"{self.path} has no column {', '.join(missing)};"
                f" its first line must name {', '.join(COLUMNS)}."
            )
        return [names.index(name.casefold()) for name in COLUMNS], len(names)

    def _row(self, line: int, record: list[str]) -> Row:
        flaw = ""
        if len(record) != self._width:
            last = self._reader.line_num
            flaw = f"It has {len(record)} columns, and the first line names {self._width}."
            if last > line:
                flaw += f" It goes on to line {last}: a quotation mark may be missing."
            record += [""] * self._width
        return Row(str(self.path), line, tuple([record[place] for place in self._places]), flaw)

    def _broken(self, line: int, error: Exception) -> UnreadableFile:
        return UnreadableFile(f"{self.path} can't be read from line {line} on: {error}.")
