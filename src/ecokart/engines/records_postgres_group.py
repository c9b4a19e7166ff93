"""A group of commits as the arguments of one call of the commit function."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    BelowFloor,
    Check,
    Delete,
    Reason,
    Row,
    Write,
    WriteConflict,
    encode,
    sortable,
    write_key,
)
from ecokart.engines import records_postgres_function as function
from ecokart.engines.records_postgres_sql import Statements, stored

REASONS = {
    function.EXISTS: Reason.EXISTS,
    function.GONE: Reason.GONE,
    function.CHANGED: Reason.CHANGED,
}


class Step(NamedTuple):
    """One write as it goes into a group. `place` is the number of its table and its key: what is locked."""

    place: tuple[int, str]
    kind: int
    expected: int
    body: bytes | None
    texts: Sequence[Any]
    numbers: Sequence[Any]


class Commit(NamedTuple):
    """A commit that waits, and who waits for it."""

    writes: Sequence[Write]
    steps: list[Step]
    outcome: asyncio.Future[None]

    def settle(self, outcome: int) -> None:
        """Tell the caller what the function said. A caller that was cancelled is told nothing."""
        if self.outcome.done():
            return
        if outcome:
            self.outcome.set_exception(self._conflict(outcome))
        else:
            self.outcome.set_result(None)

    def fail(self, problem: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(problem)

    def _conflict(self, outcome: int) -> WriteConflict:
        write = self.writes[outcome >> function.OUTCOME_BITS]
        why = outcome & (1 << function.OUTCOME_BITS) - 1
        if why == function.FLOOR:
            return BelowFloor(write.table.name, write_key(write))
        return WriteConflict(write.table.name, write_key(write), REASONS[why])


class Steps:
    """Makes the steps of commits, by the tables' numbers."""

    def __init__(self, tables: Sequence[Statements]) -> None:
        self._numbers = {one.table.name: (number, one) for number, one in enumerate(tables)}

    def of(self, writes: Sequence[Write]) -> list[Step]:
        """Raises what `encode` raises, and `Invalid` for text that is none."""
        return [self._step(write, row) for write, row in zip(writes, encode(writes), strict=True)]

    def _step(self, write: Write, row: Row | None) -> Step:
        number, statements = self._numbers[write.table.name]
        if row is not None:
            kind = _PUTS.get(write.expected, function.PUT_VERSION)  # type: ignore[union-attr]
            texts, numbers = _columns(statements, row)
            place = (number, stored(row.key))
            return Step(place, kind, write.expected, row.body, texts, numbers)  # type: ignore[union-attr]
        place = (number, stored(write_key(write)))
        if isinstance(write, Adjust):
            return Step(place, function.ADJUST, 0, None, (), _amounts(statements, write))
        anything, version = _OTHERS[type(write)]
        kind = version if write.expected > 0 else anything
        return Step(place, kind, write.expected, None, (), ())


_PUTS = {ABSENT: function.PUT_ABSENT, ANY: function.PUT_ANY}
# Without a version and with one.
_OTHERS: dict[type[Write], tuple[int, int]] = {
    Delete: (function.DELETE_ANY, function.DELETE_VERSION),
    Check: (function.CHECK_ABSENT, function.CHECK_VERSION),
}


def _columns(statements: Statements, row: Row) -> tuple[list[Any], list[Any]]:
    texts, numbers = [], []
    for is_text, value in zip(statements.layout, row.columns, strict=True):
        if is_text:
            texts.append(stored(value))
        else:
            numbers.append(value)
    return texts, numbers


def _amounts(statements: Statements, write: Adjust) -> list[Any]:
    """What is added to each of the table's counters (None: it isn't named), and the touched time."""
    amounts = [write.add.get(counter) for counter in statements.table.counters]
    return [*amounts, sortable(write.at) if statements.table.touched else 0]


def arguments(commits: Sequence[Commit]) -> list[Any]:
    """The function's parameters behind `moment`. No two commits write one record, but for adjusts."""
    slots = _slots(commits)
    places = sorted(slots)
    tables, froms, tos, masks, makes = _ranges(slots, places)
    texts: list[Any] = []
    numbers: list[Any] = []
    texts_at: list[int | None] = []
    numbers_at: list[int | None] = []
    steps = [slots[place] for place in places]
    for step in steps:
        texts_at.append(None if step.body is None else len(texts))
        numbers_at.append(len(numbers))
        texts += step.texts
        numbers += step.numbers
    keys = [key for _, key in places]
    kinds = [step.kind for step in steps]
    expected = [step.expected for step in steps]
    bodies = [step.body for step in steps]
    slotted = (keys, kinds, expected, bodies, texts_at, numbers_at, texts, numbers)
    return [tables, froms, tos, masks, makes, *slotted, *_writes(commits, places)]


def _slots(commits: Sequence[Commit]) -> dict[tuple[int, str], Step]:
    slots: dict[tuple[int, str], Step] = {}
    for commit in commits:
        for step in commit.steps:
            slots[step.place] = _adjusted(step, slots) if step.kind == function.ADJUST else step
    return slots


def _adjusted(step: Step, slots: Mapping[tuple[int, str], Step]) -> Step:
    """The step of one more adjust: what the function's `_adjust` reads of such a slot."""
    *amounts, touched = step.numbers
    taken = [None if amount is None else min(amount, 0) for amount in amounts]
    numbers = [*[amount or 0 for amount in amounts], *taken, touched]
    if earlier := slots.get(step.place):
        numbers = _joined(earlier.numbers, numbers)
    return step._replace(numbers=numbers)


def _joined(earlier: Sequence[Any], later: Sequence[Any]) -> list[Any]:
    """The numbers of two adjusts as one's."""
    sums = [
        one if other is None else other if one is None else one + other
        for one, other in zip(earlier[:-1], later[:-1], strict=True)
    ]
    return [*sums, max(earlier[-1], later[-1])]


def _ranges(
    slots: Mapping[tuple[int, str], Step], places: Iterable[tuple[int, str]]
) -> tuple[list[int], ...]:
    """For each table in turn: its number, its first and last slot, its kinds, and how many it may insert."""
    ranges: list[tuple[int, ...]] = []
    behind = 0
    for table, group in groupby(places, key=lambda place: place[0]):
        kinds = [slots[place].kind for place in group]
        mask = 0
        for kind in kinds:
            mask |= kind
        makes = sum(kind & function.MAKING > 0 for kind in kinds)
        ranges.append((table, behind + 1, behind + len(kinds), mask, makes))
        behind += len(kinds)
    return tuple([list(column) for column in zip(*ranges, strict=True)])


def _writes(commits: Sequence[Commit], places: Sequence[tuple[int, str]]) -> list[list[Any]]:
    """What evaluating needs: each commit's last write, each write's slot, and what each adjust adds."""
    slot_of = {place: number for number, place in enumerate(places, 1)}
    ends: list[int] = []
    slots: list[int] = []
    amounts: list[int | None] = []
    for commit in commits:
        for step in commit.steps:
            slots.append(slot_of[step.place])
            if step.kind == function.ADJUST:
                amounts += step.numbers[:-1]
        ends.append(len(slots))
    return [ends, slots, amounts]
