"""A state machine that drives a records engine beside `Model`, and compares every answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ecokart.core.errors import Problem
from ecokart.core.ports import Records
from ecokart.core.records import (
    ABSENT,
    ANY,
    MAX_INTEGER,
    Adjust,
    Check,
    Cursor,
    Delete,
    Page,
    Put,
    Table,
    Versioned,
    Write,
    WriteConflict,
    microseconds,
    write_key,
)
from tests.clock import ManualClock
from tests.contracts.records_kept import MORNING, NOTES, Note
from tests.contracts.records_model import Model

LAG_SECONDS = 5.0  # how far an index may be behind before we say that it is wrong
# What a caller hears of a commit: None where it held.
Told = tuple[Any, ...] | None
# `query` or `scan` of something, but for where it begins and how much it gives.
Read = Callable[..., Awaitable[Page[Any]]]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a declaration can ask for at once: counters, a touched time, an end, indexes over them."""

    id: str
    kind: str = ""
    count: int = 0
    balance: int = 0
    at: datetime = MORNING
    until: datetime | None = None
    text: str = ""


TALLIES = Table(
    "tallies",
    Tally,
    key="id",
    counters={"count": 0, "balance": -5},
    touched="at",
    expires="until",
    indexes={"by_kind": ("kind",), "changed": ("kind", "-at"), "by_count": ("kind", "-count")},
)
TABLES: tuple[Table[Any], ...] = (NOTES, TALLIES)

KEYS = ("a", "A", "a\x00", "\x01", "ä", "\uffff", "🧴")
TEXTS = ("", "a", "a\x00", "b", "\uffff", "🧴")
NUMBERS = (0, 1, 2, 10, -1, MAX_INTEGER, -MAX_INTEGER)
GROUPS = ("", "a", "a\x00")  # what an index is asked for: few, so that each holds some records
MINUTE = timedelta(minutes=1)

keys = st.sampled_from(KEYS)
texts = st.sampled_from(TEXTS)
groups = st.sampled_from(GROUPS)
amounts = st.sampled_from([0, 1, 5, -1, -5, -6])
limits = st.sampled_from([1, 2, 3, 100])
minutes = st.integers(-1, 5)
instances = st.integers(0, 1)
tables = st.sampled_from(TABLES)
# What a write expects: nothing there, whatever is there, what is there, or what was there before.
expectations = st.sampled_from(["right"] * 7 + ["any"] * 3 + ["absent", "old"])
notes = st.builds(
    Note,
    id=keys,
    shelf=groups,
    placed=st.none() | texts,
    text=st.sampled_from(["", "x", "\x00\ud7ff\ue000"]),
    number=st.sampled_from(NUMBERS),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A write as it is drawn, before it is known what there is."""

    kind: str
    table: Table[Any]
    value: Any
    expects: str
    add: dict[str, int] = field(default_factory=dict)
    until: int | None = None


puts = st.builds(Wish, st.just("put"), st.just(NOTES), notes, expectations)
tallies = st.builds(
    Tally,
    id=keys,
    kind=groups,
    count=st.sampled_from([0, 1, 1, 5, 5, -1]),
    balance=st.sampled_from([0, 0, 1, -4, -5, -6]),
)
tally_puts = st.builds(
    Wish,
    st.just("put"),
    st.just(TALLIES),
    tallies,
    expectations,
    until=st.none() | st.none() | minutes,
)
others = st.builds(
    Wish,
    st.sampled_from(["delete", "check"]),
    tables,
    st.builds(Note, id=keys),
    expectations,
)
adjusts = st.builds(
    Wish,
    st.just("adjust"),
    st.just(TALLIES),
    st.builds(Note, id=keys),
    st.just("any"),
    st.dictionaries(st.sampled_from(["count", "balance"]), amounts, min_size=1),
)
commits = st.lists(
    puts | puts | tally_puts | tally_puts | others | adjusts,
    min_size=1,
    max_size=6,
    unique_by=lambda wish: (wish.table.name, wish.value.id),
)
# What each run begins with, so that its first questions have answers.
begun = st.lists(
    puts | tally_puts,
    min_size=6,
    max_size=12,
    unique_by=lambda wish: (wish.table.name, wish.value.id),
)


class Pair:
    """Two instances over one place, opened once for all runs: what one writes the other reads."""

    def __init__(self, runner: asyncio.Runner, first: Records, second: Records) -> None:
        self.run, self.instances = runner.run, (first, second)
        self.versions: set[tuple[str, str, int]] = set()

    async def clear(self) -> None:
        everything = [Delete(table, key, ANY) for table in TABLES for key in KEYS]
        await self.instances[0].commit(everything)


class RecordsMachine(RuleBasedStateMachine):
    """One run, from empty tables. `clock` is the one by which the instances go."""

    def __init__(self, pair: Pair, clock: ManualClock) -> None:
        super().__init__()
        self._run, self._clock, self._pair = pair.run, clock, pair
        self._model = Model(clock.now())
        self._old: dict[tuple[str, str], int] = {}

    @initialize(first=begun)
    def begin(self, first: list[Wish]) -> None:
        self._run(self._pair.clear())
        for wish in first:
            self.commit(0, [wish])

    @rule(instance=instances, wanted=commits)
    def commit(self, instance: int, wanted: list[Wish]) -> None:
        writes = [self._write(wish) for wish in wanted]
        expected = _outcome_of_model(self._model, writes)
        got = self._run(_outcome(self._pair.instances[instance].commit(writes)))
        assert got == expected, f"{writes}: {got}, and {expected} was promised"
        for write in writes:
            self._compare_written(write, held=expected is None)

    @rule(instance=instances, table=tables, key=keys)
    def get(self, instance: int, table: Table[Any], key: str) -> None:
        found = self._run(self._pair.instances[instance].get(table, key))
        assert found == self._kept(table, key)

    @rule(
        instance=instances,
        index=st.sampled_from([(table, index) for table in TABLES for index in table.indexes]),
        by=groups,
        limit=limits,
        behind=st.none() | st.tuples(st.sampled_from(NUMBERS), keys),
    )
    def query(
        self,
        instance: int,
        index: tuple[Table[Any], str],
        by: str,
        limit: int,
        behind: tuple[int, str] | None,
    ) -> None:
        table, name = index
        after = _cursor(table, name, self._clock.now(), *behind) if behind else None
        records = self._pair.instances[instance]
        expected = self._model.query(table, name, by, after)
        promised = [self._kept(table, value.id) for value in expected]
        read = partial(records.query, table, name, by)
        deadline = time.monotonic() + LAG_SECONDS
        while (found := self._run(_walk(read, limit, after))) != promised:
            assert time.monotonic() < deadline, f"{found}, and {promised} was promised"

    @rule(instance=instances, table=tables, limit=limits)
    def scan(self, instance: int, table: Table[Any], limit: int) -> None:
        read = partial(self._pair.instances[instance].scan, table)
        found = {one.value.id: one for one in self._run(_walk(read, limit))}
        assert found == {key: self._kept(table, key) for key in self._model.all(table)}

    @rule(by=st.sampled_from([timedelta(microseconds=1), MINUTE, 3 * MINUTE]))
    def time_passes(self, by: timedelta) -> None:
        self._clock.advance(seconds=by.total_seconds())
        self._model.now = self._clock.now()

    def _write(self, wish: Wish) -> Write:
        table, key = wish.table, wish.value.id
        now = self._clock.now()
        expected = self._expected(wish)
        if wish.kind == "put":
            changes: dict[str, Any] = {}
            if table is TALLIES:
                end = None if wish.until is None else now + wish.until * MINUTE
                changes = {"until": end, "at": now}
            return Put(table, msgspec.structs.replace(wish.value, **changes), expected)
        if wish.kind == "adjust":
            return Adjust(table, key, wish.add, now)
        if wish.kind == "delete":
            return Delete(table, key, expected or ANY)
        return Check(table, key, ABSENT if expected == ANY else expected)

    def _expected(self, wish: Wish) -> int:
        place = (wish.table.name, wish.value.id)
        if wish.expects in ("absent", "any"):
            return ABSENT if wish.expects == "absent" else ANY
        versions = self._model.versions if wish.expects == "right" else self._old
        return versions.get(place, ABSENT)

    def _kept(self, table: Table[Any], key: str) -> Versioned[Any] | None:
        value = self._model.get(table, key)
        return value and Versioned(value, self._model.versions[table.name, key])

    def _compare_written(self, write: Write, *, held: bool) -> None:
        """What a commit wrote is there, at a version that never was; what it didn't is as it was."""
        table, key = write.table, write_key(write)
        found = self._run(self._pair.instances[0].get(table, key))
        if found and held and not isinstance(write, Check):
            place = (table.name, key)
            assert found.version > 0
            assert (*place, found.version) not in self._pair.versions, "a version came back"
            self._pair.versions.add((*place, found.version))
            self._old[place] = self._model.versions.get(place, ABSENT)
            self._model.versions[place] = found.version
        assert found == self._kept(table, key)


async def _walk(read: Read, limit: int, after: Cursor | None = None) -> list[Versioned[Any]]:
    """All pages from `after` on: every one but the last is full, and only the last has no `after`."""
    found: list[Versioned[Any]] = []
    while True:
        page = await read(after=after, limit=limit)
        found += [Versioned(*pair) for pair in zip(page.values, page.versions, strict=True)]
        assert len(found) <= len(KEYS), f"something comes again and again: {found}"
        if page.after is None:
            assert len(page.values) <= limit
            assert page.values or not found
            return found
        assert len(page.values) == limit
        after = page.after


def _cursor(table: Table[Any], index: str, now: datetime, number: int, text: str) -> Cursor:
    """A place in the index, where a record may be or none."""
    sort = table.indexes[index].sort
    if sort is None:
        return text, text
    if sort == "placed":
        return text, KEYS[number % len(KEYS)]
    return (microseconds(now) if sort == "at" else 0) + number, text


async def _outcome(commit: Awaitable[None]) -> Told:
    try:
        await commit
    except Problem as problem:
        return _told(problem)
    return None


def _outcome_of_model(model: Model, writes: Sequence[Write]) -> Told:
    try:
        model.commit(writes)
    except Problem as problem:
        return _told(problem)
    return None


def _told(problem: Problem) -> Told:
    """What a caller can tell from a refusal."""
    if isinstance(problem, WriteConflict):
        return type(problem), problem.table, problem.key, problem.reason
    return (type(problem),)
