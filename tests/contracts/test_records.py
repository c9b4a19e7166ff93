"""`Records.commit`: every kind of write, every condition, every limit, and all or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ecokart.core.errors import Invalid
from ecokart.core.ports import Records
from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    BelowFloor,
    Check,
    CommitTooLarge,
    Delete,
    Put,
    Reason,
    Write,
)
from tests.contracts.records_kept import (
    MORNING,
    NOTES,
    STOCK,
    Note,
    Stock,
    conflict,
    got,
    put_new,
    take,
)

LONGEST_KEY = "k" * 1024


async def test_what_was_put_is_there(records: Records) -> None:
    note = Note(id="n", shelf="b", placed="2026", text="hello", number=7)
    await records.commit([Put(NOTES, note, ABSENT)])
    found = await got(records, NOTES, "n")
    assert found.value == note
    assert found.version > 0
    assert await records.get(NOTES, "another") is None


async def test_a_put_replaces_the_whole_record(records: Records) -> None:
    await put_new(records, NOTES, Note(id="n", shelf="b", text="old", placed="2026"))
    before = (await got(records, NOTES, "n")).version
    await records.commit([Put(NOTES, Note(id="n", text="new"), before)])
    after = await got(records, NOTES, "n")
    assert after.value == Note(id="n", text="new")
    assert after.version != before


async def test_a_put_where_none_may_be_fails_where_one_is(records: Records) -> None:
    await put_new(records, NOTES, Note(id="n", text="first"))
    failure = await conflict(records, Put(NOTES, Note(id="n", text="second"), ABSENT))
    assert (failure.table, failure.key, failure.reason) == ("notes", "n", Reason.EXISTS)
    assert (await got(records, NOTES, "n")).value.text == "first"


async def test_a_put_whatever_is_there_holds_with_and_without_a_record(records: Records) -> None:
    await records.commit([Put(NOTES, Note(id="n", text="first"), ANY)])
    first = await got(records, NOTES, "n")
    await records.commit([Put(NOTES, Note(id="n", text="second"), ANY)])
    second = await got(records, NOTES, "n")
    assert (first.value.text, second.value.text) == ("first", "second")
    assert first.version != second.version


async def test_a_put_at_an_old_version_fails(records: Records) -> None:
    await put_new(records, NOTES, Note(id="n"))
    old = (await got(records, NOTES, "n")).version
    await records.commit([Put(NOTES, Note(id="n", text="theirs"), old)])
    failure = await conflict(records, Put(NOTES, Note(id="n", text="ours"), old))
    assert failure.reason == Reason.CHANGED
    assert (await got(records, NOTES, "n")).value.text == "theirs"


async def test_a_put_at_a_version_of_what_is_gone_fails(records: Records) -> None:
    await put_new(records, NOTES, Note(id="n"))
    old = (await got(records, NOTES, "n")).version
    await records.commit([Delete(NOTES, "n", old)])
    assert (await conflict(records, Put(NOTES, Note(id="n"), old))).reason == Reason.GONE
    assert await records.get(NOTES, "n") is None


async def test_a_delete_holds_at_its_version_only(records: Records) -> None:
    await put_new(records, NOTES, Note(id="n"))
    version = (await got(records, NOTES, "n")).version
    failure = await conflict(records, Delete(NOTES, "n", version + 1))
    assert failure.reason == Reason.CHANGED
    await records.commit([Delete(NOTES, "n", version)])
    assert await records.get(NOTES, "n") is None
    assert (await conflict(records, Delete(NOTES, "n", version))).reason == Reason.GONE


async def test_a_delete_of_whatever_is_there_may_find_nothing(records: Records) -> None:
    await put_new(records, NOTES, Note(id="n"))
    await records.commit([Delete(NOTES, "n", ANY), Delete(NOTES, "never", ANY)])
    await records.commit([Delete(NOTES, "n", ANY)])
    assert await records.get(NOTES, "n") is None


async def test_a_check_lets_the_commit_hold_only_at_its_version(records: Records) -> None:
    await put_new(records, NOTES, Note(id="checked"))
    version = (await got(records, NOTES, "checked")).version
    await records.commit(
        [Check(NOTES, "checked", version), Put(NOTES, Note(id="one"), ABSENT)],
    )
    assert (await got(records, NOTES, "checked")).version == version  # it changed nothing
    await records.commit([Put(NOTES, Note(id="checked", text="changed"), version)])
    stale = Check(NOTES, "checked", version)
    failure = await conflict(records, Put(NOTES, Note(id="two"), ABSENT), stale)
    assert (failure.key, failure.reason) == ("checked", Reason.CHANGED)
    assert await records.get(NOTES, "two") is None
    assert (await conflict(records, Check(NOTES, "never", version))).reason == Reason.GONE


async def test_a_check_for_absence_fails_where_a_record_is(records: Records) -> None:
    await records.commit([Check(NOTES, "n", ABSENT), Put(NOTES, Note(id="other"), ABSENT)])
    await put_new(records, NOTES, Note(id="n"))
    failure = await conflict(records, Check(NOTES, "n", ABSENT))
    assert (failure.key, failure.reason) == ("n", Reason.EXISTS)


async def test_an_adjust_adds_to_counters_and_leaves_the_rest(records: Records) -> None:
    await put_new(records, STOCK, Stock(id="s", available=10, title="Soap"))
    before = (await got(records, STOCK, "s")).version
    await records.commit([Adjust(STOCK, "s", {"available": -4, "reserved": 4}, MORNING)])
    after = await got(records, STOCK, "s")
    assert (after.value.available, after.value.reserved, after.value.title) == (6, 4, "Soap")
    assert after.version != before


async def test_a_counter_may_reach_its_floor_and_not_fall_below(records: Records) -> None:
    await put_new(records, STOCK, Stock(id="s", available=3))
    await records.commit([take("s", 3)])
    failure = await conflict(records, take("s"))
    assert isinstance(failure, BelowFloor)
    assert (failure.table, failure.key, failure.reason) == ("stock", "s", Reason.FLOOR)
    await records.commit([Adjust(STOCK, "s", {"balance": -5}, MORNING)])
    assert isinstance(
        await conflict(records, Adjust(STOCK, "s", {"balance": -1}, MORNING)), BelowFloor
    )
    found = (await got(records, STOCK, "s")).value
    assert (found.available, found.reserved, found.balance) == (0, 3, -5)


async def test_one_counter_below_its_floor_stops_the_others_of_the_adjust(records: Records) -> None:
    await put_new(records, STOCK, Stock(id="s", available=1, reserved=0))
    both = Adjust(STOCK, "s", {"available": 5, "reserved": -1}, MORNING)
    assert isinstance(await conflict(records, both), BelowFloor)
    assert (await got(records, STOCK, "s")).value.available == 1


async def test_an_adjust_of_a_missing_record_says_that_it_is_gone(records: Records) -> None:
    failure = await conflict(records, Adjust(STOCK, "none", {"available": 1}, MORNING))
    assert failure.reason == Reason.GONE
    assert not isinstance(failure, BelowFloor)


async def test_a_put_below_a_floor_is_refused(records: Records) -> None:
    failure = await conflict(records, Put(STOCK, Stock(id="s", available=-1), ABSENT))
    assert isinstance(failure, BelowFloor)
    assert await records.get(STOCK, "s") is None


async def test_a_put_after_adjusts_sets_the_counters_anew(records: Records) -> None:
    await put_new(records, STOCK, Stock(id="s", available=10))
    await records.commit([take("s", 4)])
    version = (await got(records, STOCK, "s")).version
    await records.commit([Put(STOCK, Stock(id="s", available=1), version)])
    found = (await got(records, STOCK, "s")).value
    assert (found.available, found.reserved) == (1, 0)


@pytest.mark.parametrize("position", [0, 1, 2, 3])
async def test_a_commit_that_fails_leaves_nothing(records: Records, position: int) -> None:
    await put_new(records, NOTES, Note(id="kept", text="old"), Note(id="there"))
    await put_new(records, STOCK, Stock(id="s", available=5))
    writes: list[Write] = [
        Put(NOTES, Note(id="new"), ABSENT),
        Delete(NOTES, "kept", ANY),
        take("s"),
    ]
    writes.insert(position, Put(NOTES, Note(id="there", text="again"), ABSENT))
    assert (await conflict(records, *writes)).key == "there"
    assert await records.get(NOTES, "new") is None
    assert (await got(records, NOTES, "kept")).value.text == "old"
    assert (await got(records, STOCK, "s")).value == Stock(id="s", available=5)


async def test_a_key_that_comes_back_never_repeats_a_version(records: Records) -> None:
    seen: set[int] = set()
    for _ in range(50):
        await records.commit([Put(NOTES, Note(id="n"), ABSENT)])
        seen.add((await got(records, NOTES, "n")).version)
        await records.commit([Put(NOTES, Note(id="n", text="changed"), ANY)])
        seen.add((await got(records, NOTES, "n")).version)
        await records.commit([Delete(NOTES, "n", ANY)])
    assert len(seen) == 100


async def test_an_empty_commit_does_nothing(records: Records) -> None:
    await records.commit([])
    assert (await records.scan(NOTES)).values == []


async def test_a_hundred_writes_fit_and_one_more_does_not(records: Records) -> None:
    notes = [Put(NOTES, Note(id=f"n{number}"), ABSENT) for number in range(101)]
    with pytest.raises(CommitTooLarge):
        await records.commit(notes)
    assert (await records.scan(NOTES)).values == []
    await records.commit(notes[:100])
    assert len((await records.scan(NOTES, limit=200)).values) == 100


async def test_a_record_of_400_kilobytes_fits_and_a_larger_one_does_not(records: Records) -> None:
    await put_new(records, NOTES, Note(id="large", text="x" * 399 * 1024))
    assert len((await got(records, NOTES, "large")).value.text) == 399 * 1024
    with pytest.raises(CommitTooLarge):
        await put_new(records, NOTES, Note(id="larger", text="x" * 401 * 1024))
    assert await records.get(NOTES, "larger") is None


async def test_four_megabytes_fit_and_more_do_not(records: Records) -> None:
    parts = [Put(NOTES, Note(id=f"{n}", text="x" * 390 * 1024), ABSENT) for n in range(11)]
    with pytest.raises(CommitTooLarge):
        await records.commit(parts)
    assert await records.get(NOTES, "0") is None
    await records.commit(parts[:10])
    assert await records.get(NOTES, "9") is not None


@pytest.mark.parametrize(
    "second",
    [Put(NOTES, Note(id="n"), ANY), Delete(NOTES, "n", ANY), Check(NOTES, "n", ABSENT)],
)
async def test_a_commit_may_write_a_record_once(records: Records, second: Write) -> None:
    with pytest.raises(Invalid):
        await records.commit([Put(NOTES, Note(id="n"), ABSENT), second])
    assert await records.get(NOTES, "n") is None
    await records.commit(  # the same key in another table is another record
        [Put(NOTES, Note(id="n"), ABSENT), Put(STOCK, Stock(id="n"), ABSENT)]
    )


@pytest.mark.parametrize("key", ["", "k" * 1025, "ü" * 513, "half \ud800"])
async def test_what_is_no_key_is_refused_by_every_write(records: Records, key: str) -> None:
    writes: list[Write] = [
        Put(NOTES, Note(id=key), ABSENT),
        Delete(NOTES, key, ANY),
        Check(NOTES, key, ABSENT),
        Adjust(STOCK, key, {"available": 1}, MORNING),
    ]
    for write in writes:
        with pytest.raises(Invalid):
            await records.commit([write])
    await put_new(records, NOTES, Note(id="n"))  # and the engine still works


async def test_the_longest_key_works_everywhere(records: Records) -> None:
    await put_new(records, NOTES, Note(id=LONGEST_KEY, placed="1"))
    await put_new(records, STOCK, Stock(id=LONGEST_KEY, available=1))
    await records.commit([take(LONGEST_KEY)])
    assert (await got(records, STOCK, LONGEST_KEY)).value.reserved == 1
    page = await records.query(NOTES, "oldest", "a")
    assert page.values == [Note(id=LONGEST_KEY, placed="1")]


async def test_a_key_that_no_record_can_have_is_not_found(records: Records) -> None:
    assert await records.get(NOTES, "") is None
    assert await records.get(NOTES, "k" * 5000) is None


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63, 2**64])
async def test_a_number_that_no_engine_can_hold_is_refused(records: Records, number: int) -> None:
    refused: list[Write] = [
        Put(NOTES, Note(id="n", number=number), ABSENT),
        Adjust(STOCK, "s", {"balance": number}, MORNING),
    ]
    await put_new(records, STOCK, Stock(id="s"))
    for write in refused:
        with pytest.raises(Invalid):
            await records.commit([write])
    await put_new(records, NOTES, Note(id="n", number=2**53 - 1))
    assert (await got(records, NOTES, "n")).value.number == 2**53 - 1


async def test_an_adjust_of_nothing_is_refused(records: Records) -> None:
    await put_new(records, STOCK, Stock(id="s"))
    nothing: dict[str, Any] = {}
    with pytest.raises(Invalid):
        await records.commit([Adjust(STOCK, "s", nothing, MORNING)])
