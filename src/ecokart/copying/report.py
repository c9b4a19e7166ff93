"""What whoever copies a shop gets to see: how far it is, how fast, and both sides in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from ecokart.copying.copy import MOST_NAMED, Compared
from ecokart.core.records import Table


class Steps:
    """The steps of a copy as they go on: a line for each that has ended, and on a terminal a live one."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """One step, from here to the end of the context."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.completed:,} records"),
            TimeElapsedColumn(),
        )
        live = Console(stderr=True)
        with Progress(
            *columns, console=live, transient=True, disable=not live.is_terminal
        ) as progress:
            yield Step(name, progress)

    def say(self, sentence: str) -> None:
        self.console.print(sentence)


class Step:
    """What a step has read so far. Called with a table and the records of it that were read."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name, self._progress = name, progress
        self._task = progress.add_task(name, total=None)
        self._read: dict[str, int] = {}
        self._started = perf_counter()

    def __call__(self, table: Table[Any], records: int) -> None:
        self._read[table.name] = records
        self._progress.update(
            self._task, description=f"{self._name} {table.name}", completed=records
        )

    @property
    def seconds(self) -> float:
        return perf_counter() - self._started

    @property
    def records(self) -> int:
        return sum(self._read.values())


def comparison(compared: Sequence[Compared]) -> Grid:
    """Counts and checksums of both sides, a line a table."""
    grid = Grid(box=None, padding=(0, 3, 0, 0))
    grid.add_column("Table")
    grid.add_column("source", justify="right")
    grid.add_column("target", justify="right")
    grid.add_column("checksum")
    grid.add_column("")
    for one in compared:
        same = one.source.checksum == one.target.checksum
        # Without a differing key, what differs has expired between one look and the other.
        verdict = f"{one.differing:,} differ" if one.differing else "" if same else "some expired"
        checksum = one.source.checksum + ("" if same else f" / {one.target.checksum}")
        counts = f"{one.source.count:,}", f"{one.target.count:,}"
        grid.add_row(one.table, *counts, checksum, verdict or "same")
    return grid


def sentences(compared: Sequence[Compared], refused: Mapping[str, str]) -> Iterator[str]:
    """Every record that isn't the same on both sides, and why where that is known."""
    for one in compared:
        for key in one.keys:
            name = f"{one.table}/{key}"
            yield f"differs: {name}" + (f": {refused[name]}" if name in refused else "")
        if one.differing > MOST_NAMED:
            yield f"differs: {one.differing - MOST_NAMED:,} more of {one.table}"
