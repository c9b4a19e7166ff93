"""Commits are as if no other ran at the same time: whatever runs together, some order explains it."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from graphlib import TopologicalSorter

import msgspec
import pytest

from ecokart.core.ports import Records
from ecokart.core.records import ABSENT, Check, Delete, Put, Write, WriteConflict
from tests.contracts.records_kept import (
    NOTES,
    STOCK,
    Note,
    Stock,
    Storage,
    got,
    ids,
    put_new,
    take,
)

WRITERS = 32
TRIES = 10


async def _held(records: Records, *writes: Write) -> bool:
    try:
        await records.commit(writes)
    except WriteConflict:
        return False
    return True


async def test_thirty_two_writers_of_one_record_lose_no_update(storage: Storage) -> None:
    instances = [storage.open(), storage.open()]
    await put_new(instances[0], NOTES, Note(id="n"))

    async def count_up(records: Records) -> None:
        held = False
        while not held:
            value, version = await got(records, NOTES, "n")
            more = msgspec.structs.replace(value, number=value.number + 1)
            held = await _held(records, Put(NOTES, more, version))

    await asyncio.gather(*[count_up(instances[n % 2]) for n in range(WRITERS)])
    for records in instances:
        assert (await got(records, NOTES, "n")).value.number == WRITERS


async def test_thirty_two_writers_adjust_one_record_and_none_is_refused(storage: Storage) -> None:
    instances = [storage.open(), storage.open()]
    await put_new(instances[0], STOCK, Stock(id="s", available=100))
    await asyncio.gather(*[instances[n % 2].commit([take("s", 3)]) for n in range(WRITERS)])
    stock = (await got(instances[1], STOCK, "s")).value
    assert (stock.available, stock.reserved) == (100 - 3 * WRITERS, 3 * WRITERS)


async def test_of_two_that_rely_on_each_others_record_one_holds(storage: Storage) -> None:
    """Each checks the record that the other changes: together they would be true of no moment."""
    ours, theirs = storage.open(), storage.open()
    for n in range(TRIES):
        await put_new(ours, NOTES, Note(id=f"a{n}"), Note(id=f"b{n}"))
        a, b = await got(ours, NOTES, f"a{n}"), await got(ours, NOTES, f"b{n}")
        outcomes = await asyncio.gather(
            _held(ours, Check(NOTES, f"a{n}", a.version), Delete(NOTES, f"b{n}", b.version)),
            _held(theirs, Check(NOTES, f"b{n}", b.version), Delete(NOTES, f"a{n}", a.version)),
        )
        assert sorted(outcomes) == [False, True]


async def test_of_two_that_rely_on_each_others_absence_one_holds(storage: Storage) -> None:
    ours, theirs = storage.open(), storage.open()
    for n in range(TRIES):
        outcomes = await asyncio.gather(
            _held(ours, Check(NOTES, f"a{n}", ABSENT), Put(NOTES, Note(id=f"b{n}"), ABSENT)),
            _held(theirs, Check(NOTES, f"b{n}", ABSENT), Put(NOTES, Note(id=f"a{n}"), ABSENT)),
        )
        assert sorted(outcomes) == [False, True]


async def test_commits_that_take_the_same_records_in_other_orders_all_come_through(
    storage: Storage,
) -> None:
    """No deadlock, in whatever order each names them."""
    instances = [storage.open(), storage.open()]
    keys = [f"s{n}" for n in range(6)]
    await put_new(instances[0], STOCK, *[Stock(id=key, available=100) for key in keys])
    chance = random.Random(2)
    async with asyncio.timeout(30):
        await asyncio.gather(
            *[
                instances[n % 2].commit([take(key) for key in chance.sample(keys, 6)])
                for n in range(60)
            ]
        )
    stocks = (await instances[0].scan(STOCK)).values
    assert [(stock.available, stock.reserved) for stock in stocks] == [(40, 60)] * 6


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_what_ran_together_can_be_put_into_an_order(storage: Storage, seed: int) -> None:
    """Every record lists the commits that wrote it; a commit writes some records and checks others.

    Whoever read a state comes after the commit that made it and before the one that replaced it. In
    an order of all commits nobody comes before himself.
    """
    instances = [storage.open(), storage.open()]
    keys = [f"r{n}" for n in range(5)]
    await put_new(instances[0], NOTES, *[Note(id=key) for key in keys])
    seen: dict[str, dict[str, int]] = {}  # how many commits each commit saw on each record it used

    async def work(worker: int) -> None:
        chance = random.Random(f"{seed}/{worker}")
        records = instances[worker % 2]
        for number in range(12):
            name = f"{worker}.{number}"
            used = chance.sample(keys, chance.randint(2, 4))
            states = {key: await got(records, NOTES, key) for key in used}
            writes: list[Write] = [Check(NOTES, key, states[key].version) for key in used[1:]]
            for place, key in enumerate(used):
                if place == 0 or chance.random() < 0.3:
                    note = states[key].value
                    more = msgspec.structs.replace(note, text=f"{note.text} {name}")
                    writes = [w for w in writes if not isinstance(w, Check) or w.key != key]
                    writes.append(Put(NOTES, more, states[key].version))
            chance.shuffle(writes)
            if await _held(records, *writes):
                seen[name] = {key: len(states[key].value.text.split()) for key in used}

    await asyncio.gather(*[work(worker) for worker in range(8)])
    written = {key: (await got(instances[0], NOTES, key)).value.text.split() for key in keys}
    assert {name for names in written.values() for name in names} == set(seen)
    assert len(seen) > 10
    list(
        TopologicalSorter(_earlier(written, seen)).static_order()
    )  # raises where there is a circle


def _earlier(written: dict[str, list[str]], seen: dict[str, dict[str, int]]) -> dict[str, set[str]]:
    """For each commit those that must have come before it."""
    before: dict[str, set[str]] = defaultdict(set)
    for name, states in seen.items():
        for key, count in states.items():
            writers = written[key]
            if count:
                before[name].add(writers[count - 1])
            if count < len(writers) and writers[count] != name:
                before[writers[count]].add(name)
    return before


async def test_many_may_open_an_empty_place_at_once(storage: Storage) -> None:
    """The first use makes the tables, and every process that starts at this moment finds them."""
    instances = [storage.open() for _ in range(4)]
    puts = [
        records.commit([Put(NOTES, Note(id=f"n{n}"), ABSENT)])
        for n, records in enumerate(instances)
    ]
    await asyncio.gather(*puts)
    for records in instances:
        assert sorted(ids((await records.scan(NOTES)).values)) == ["n0", "n1", "n2", "n3"]


async def test_two_reads_are_two_moments_but_a_check_makes_them_one(storage: Storage) -> None:
    """What was read of two records may never have been true together; who relies on it says so."""
    ours, theirs = storage.open(), storage.open()
    await put_new(ours, NOTES, Note(id="left", number=100), Note(id="right", number=0))
    left = await got(ours, NOTES, "left")
    await _move(theirs, 30)
    right = await got(ours, NOTES, "right")
    assert left.value.number + right.value.number == 130
    decided = Put(NOTES, Note(id="sum", number=130), ABSENT)
    checks = [Check(NOTES, "left", left.version), Check(NOTES, "right", right.version)]
    assert not await _held(ours, *checks, decided)
    assert await ours.get(NOTES, "sum") is None


async def _move(records: Records, amount: int) -> None:
    notes: Sequence[Note] = []
    versions = []
    for key, change in (("left", -amount), ("right", amount)):
        value, version = await got(records, NOTES, key)
        notes = [*notes, msgspec.structs.replace(value, number=value.number + change)]
        versions.append(version)
    await records.commit([Put(NOTES, *pair) for pair in zip(notes, versions, strict=True)])
