"""Many at once on the same `Records`: nothing is lost, nothing is oversold, nobody pays for another."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from ecokart.core.ports import Records
from ecokart.core.records import (
    ABSENT,
    ANY,
    BelowFloor,
    Check,
    Delete,
    Put,
    Reason,
    Write,
    WriteConflict,
)
from tests.contracts.records_kept import (
    NOTES,
    STOCK,
    Note,
    Stock,
    Storage,
    conflict,
    got,
    put_new,
    take,
)

ROOT = Path(__file__).parents[2]


async def _took(records: Records, key: str, count: int = 1) -> bool:
    try:
        await records.commit([take(key, count)])
    except BelowFloor:
        return False
    return True


async def test_of_many_puts_of_one_key_exactly_one_holds(storage: Storage) -> None:
    instances = [storage.open(), storage.open()]
    puts = [
        instances[n % 2].commit([Put(NOTES, Note(id="n", number=n), ABSENT)]) for n in range(50)
    ]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    winners = [n for n, outcome in enumerate(outcomes) if outcome is None]
    losers = [outcome for outcome in outcomes if isinstance(outcome, WriteConflict)]
    assert len(winners) == 1
    assert [loser.reason for loser in losers] == [Reason.EXISTS] * 49
    assert (await got(instances[0], NOTES, "n")).value.number == winners[0]


async def test_commits_that_fail_fail_alone(records: Records) -> None:
    await put_new(records, NOTES, Note(id="there"))
    await put_new(records, STOCK, Stock(id="s", available=10))
    commits = []
    for n in range(60):
        good = [Put(NOTES, Note(id=f"n{n}"), ABSENT)]
        if n % 3 == 0:
            commits.append(records.commit([*good, Put(NOTES, Note(id="there"), ABSENT)]))
        elif n % 3 == 1:
            commits.append(records.commit([*good, take("s")]))
        else:
            commits.append(records.commit(good))
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    held = {n for n, outcome in enumerate(outcomes) if outcome is None}
    assert not any(n in held for n in range(0, 60, 3))
    assert sum(n in held for n in range(1, 60, 3)) == 10
    assert all(n in held for n in range(2, 60, 3))
    kept = {note.id for note in (await records.scan(NOTES)).values} - {"there"}
    assert kept == {f"n{n}" for n in held}
    stock = (await got(records, STOCK, "s")).value
    assert (stock.available, stock.reserved) == (0, 10)


async def test_what_each_checks_and_the_other_writes_holds_for_one_of_them(
    records: Records,
) -> None:
    """Two that are on call may not both leave because each sees the other there (write skew)."""
    await put_new(records, NOTES, *[Note(id=f"{side}{n}") for n in range(10) for side in "ab"])
    for n in range(10):
        seen = {side: (await got(records, NOTES, f"{side}{n}")).version for side in "ab"}
        away: list[list[Write]] = [
            [
                Check(NOTES, f"{other}{n}", seen[other]),
                Put(NOTES, Note(id=f"{own}{n}", text="away"), seen[own]),
            ]
            for own, other in ("ab", "ba")
        ]
        outcomes = await asyncio.gather(*map(records.commit, away), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(WriteConflict) == 1


@pytest.mark.parametrize("place", [0, 50, 99])
async def test_one_conflict_among_a_hundred_alike_is_named_and_stops_them_all(
    records: Records, place: int
) -> None:
    await put_new(records, NOTES, Note(id=f"n{place}", text="there"))
    failure = await conflict(records, *[Put(NOTES, Note(id=f"n{n}"), ABSENT) for n in range(100)])
    assert (failure.key, failure.reason) == (f"n{place}", Reason.EXISTS)
    assert (await records.scan(NOTES)).values == [Note(id=f"n{place}", text="there")]


async def test_two_instances_never_sell_more_than_there_is(storage: Storage) -> None:
    instances = [storage.open(), storage.open()]
    await put_new(instances[0], STOCK, Stock(id="s", available=70))
    sold = await asyncio.gather(*[_took(instances[n % 2], "s") for n in range(100)])
    assert sum(sold) == 70
    for records in instances:
        stock = (await got(records, STOCK, "s")).value
        assert (stock.available, stock.reserved) == (0, 70)


async def test_what_one_instance_committed_the_other_reads(storage: Storage) -> None:
    ours, theirs = storage.open(), storage.open()
    for number in range(20):
        await ours.commit([Put(NOTES, Note(id="n", number=number), ANY)])
        assert (await got(theirs, NOTES, "n")).value.number == number
    version = (await got(theirs, NOTES, "n")).version
    await theirs.commit([Delete(NOTES, "n", version)])
    assert await ours.get(NOTES, "n") is None
    assert (await conflict(ours, Delete(NOTES, "n", version))).reason == Reason.GONE


async def test_money_moved_back_and_forth_is_neither_made_nor_lost(storage: Storage) -> None:
    """Transfers between records by whole reads and writes, each at the versions that were read."""
    instances = [storage.open(), storage.open()]
    accounts = [f"account{n}" for n in range(4)]
    await put_new(instances[0], NOTES, *[Note(id=account, number=100) for account in accounts])

    async def transfer(amount: int) -> None:
        records = instances[amount % 2]
        left, right = accounts[amount % 4], accounts[(amount + 1 + amount // 4 % 3) % 4]
        held = False
        while not held:
            a, a_version = await got(records, NOTES, left)
            b, b_version = await got(records, NOTES, right)
            taken = Put(NOTES, msgspec.structs.replace(a, number=a.number - amount), a_version)
            given = Put(NOTES, msgspec.structs.replace(b, number=b.number + amount), b_version)
            try:
                await records.commit([taken, given])
                held = True
            except WriteConflict:
                await asyncio.sleep(0)

    await asyncio.gather(*[transfer(amount) for amount in range(30)])
    balances = [(await got(instances[0], NOTES, account)).value.number for account in accounts]
    assert sum(balances) == 400
    assert balances != [100] * 4


@pytest.mark.parametrize("patience", [0, 1, 2])
async def test_a_cancelled_caller_leaves_all_or_nothing(storage: Storage, patience: int) -> None:
    records = storage.open()
    writes = [Put(NOTES, Note(id="one"), ABSENT), Put(STOCK, Stock(id="two"), ABSENT)]
    caller = asyncio.create_task(records.commit(writes))
    for _ in range(patience):
        await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await put_new(records, NOTES, Note(id="after"))  # the engine works on
    await records.close()
    again = storage.open()
    one, two = await again.get(NOTES, "one"), await again.get(STOCK, "two")
    assert (one is None) == (two is None)


async def test_a_second_process_sells_from_the_same_stock(storage: Storage) -> None:
    records = storage.open()
    await put_new(records, STOCK, Stock(id="s", available=150))
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.contracts.other_process", storage.name, storage.location, "s", "120"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdin
    assert other.stdout
    assert await other.stdout.readline() == b"ready\n"
    other.stdin.write(b"go\n")
    ours = sum([await _took(records, "s") for _ in range(120)])
    output, _ = await other.communicate()
    assert other.returncode == 0
    assert ours + int(output) == 150
    stock = (await got(records, STOCK, "s")).value
    assert (stock.available, stock.reserved) == (0, 150)
