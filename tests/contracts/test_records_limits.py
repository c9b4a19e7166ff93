"""`Records` at the edge of what they take: just within it is kept as it was, just beyond it is refused."""

from __future__ import annotations

import random
import string
from typing import Any

import msgspec
import pytest

from ecokart.core.errors import Invalid
from ecokart.core.ports import Records
from ecokart.core.records import (
    ABSENT,
    ANY,
    MAX_COMMIT_BYTES,
    MAX_INDEXED_BYTES,
    MAX_INTEGER,
    MAX_KEY_BYTES,
    MAX_RECORD_BYTES,
    Adjust,
    Check,
    CommitTooLarge,
    Delete,
    Put,
    Table,
    Write,
)
from tests.contracts.records_kept import (
    MORNING,
    NOTES,
    STOCK,
    Note,
    Stock,
    Storage,
    got,
    ids,
    paged,
    put_new,
    take,
)

BEYOND = MAX_INTEGER + 1


def noise(length: int, seed: object = 0) -> str:
    """Letters and digits that no compression makes much smaller."""
    return "".join(random.Random(str(seed)).choices(string.ascii_letters + string.digits, k=length))


def note_of(key: str, size: int) -> Note:
    """A note whose stored body has exactly so many bytes."""
    bare = len(NOTES.row(Note(id=key)).body)
    return Note(id=key, text=noise(size - bare, key))


# Sizes.


async def test_a_record_may_have_400_kilobytes_to_the_byte(records: Records) -> None:
    largest = note_of("largest", MAX_RECORD_BYTES)
    await put_new(records, NOTES, largest)
    assert (await got(records, NOTES, "largest")).value == largest
    version = (await got(records, NOTES, "largest")).version
    for expected in (version, ANY):
        with pytest.raises(CommitTooLarge):
            await records.commit([Put(NOTES, note_of("largest", MAX_RECORD_BYTES + 1), expected)])
    assert await got(records, NOTES, "largest") == (largest, version)
    assert (await records.query(NOTES, "by_shelf", "a")).values == [largest]


async def test_a_commit_may_have_four_megabytes_to_the_byte(records: Records) -> None:
    notes = [note_of(f"{n}", MAX_RECORD_BYTES) for n in range(10)]
    rest = MAX_COMMIT_BYTES - 10 * MAX_RECORD_BYTES
    with pytest.raises(CommitTooLarge):
        await put_new(records, NOTES, *notes, note_of("rest", rest + 1))
    assert (await records.scan(NOTES)).values == []
    await put_new(records, NOTES, *notes, note_of("rest", rest))
    found = {note.id: note for note in (await records.scan(NOTES)).values}
    assert found == {note.id: note for note in [*notes, note_of("rest", rest)]}


async def test_the_101st_write_is_one_too_many_of_whatever_kind(records: Records) -> None:
    await put_new(records, STOCK, *[Stock(id=f"{n}", available=5) for n in range(50)])
    mixed: list[Write] = [
        *[take(f"{n}") for n in range(50)],
        *[Put(NOTES, Note(id=f"{n}"), ABSENT) for n in range(30)],
        *[Delete(NOTES, f"gone{n}", ANY) for n in range(10)],
        *[Check(NOTES, f"none{n}", ABSENT) for n in range(11)],
    ]
    with pytest.raises(CommitTooLarge):
        await records.commit(mixed)
    assert (await got(records, STOCK, "0")).value.reserved == 0
    await records.commit(mixed[:100])
    assert (await got(records, STOCK, "49")).value.reserved == 1
    assert len((await records.scan(NOTES)).values) == 30


# Keys and texts in an index, which are measured in bytes.


@pytest.mark.parametrize("letter", ["k", "ü", "€", "🧴", "\x00", "\x01"])
async def test_a_key_may_have_1024_bytes_in_any_script(records: Records, letter: str) -> None:
    width = len(letter.encode())
    key = letter * (MAX_KEY_BYTES // width) + "k" * (MAX_KEY_BYTES % width)
    note = Note(id=key, placed="1")
    await put_new(records, NOTES, note, Note(id="z", shelf="z"))
    await put_new(records, STOCK, Stock(id=key, available=1))
    await records.commit([take(key)])
    found = await got(records, NOTES, key)
    assert found.value == note
    for index in ("oldest", "newest", "by_shelf"):
        assert await paged(records, index, "a", limit=1) == [key]
    assert len((await records.scan(NOTES, limit=1)).values) == 1
    await records.commit([Delete(NOTES, key, found.version)])
    assert await records.get(NOTES, key) is None
    with pytest.raises(Invalid):
        await put_new(records, NOTES, Note(id=key + "k"))


async def test_long_texts_that_differ_only_at_their_end_keep_their_order(records: Records) -> None:
    shelf = noise(MAX_INDEXED_BYTES, "shelf")
    place, key = noise(MAX_INDEXED_BYTES - 1, "place"), noise(MAX_KEY_BYTES - 1, "key")
    ends = zip("DAFBEC", "aaabbb", strict=True)
    notes = [Note(id=key + last, shelf=shelf, placed=place + end) for last, end in ends]
    await put_new(records, NOTES, *random.Random(1).sample(notes, 6))
    expected = [note.id for note in sorted(notes, key=lambda note: (note.placed or "", note.id))]
    for limit in (1, 2, 5, 6):
        assert await paged(records, "oldest", shelf, limit) == expected
        assert await paged(records, "newest", shelf, limit) == expected[::-1]
        assert await paged(records, "by_shelf", shelf, limit) == sorted(expected)


@pytest.mark.parametrize("letter", ["x", "ü", "🧴"])
@pytest.mark.parametrize("field", ["shelf", "placed"])
async def test_a_text_in_an_index_has_800_bytes_and_no_more(
    records: Records, field: str, letter: str
) -> None:
    fits = letter * (MAX_INDEXED_BYTES // len(letter.encode()))
    kept = msgspec.structs.replace(Note(id="n", placed="1"), **{field: fits})
    await put_new(records, NOTES, kept)
    assert (await records.query(NOTES, "oldest", kept.shelf)).values == [kept]
    with pytest.raises(Invalid):
        await records.commit(
            [Put(NOTES, msgspec.structs.replace(kept, **{field: fits + "x"}), ANY)]
        )
    assert (await got(records, NOTES, "n")).value == kept
    much = msgspec.structs.replace(kept, text=fits * 100)  # beside the index it may be longer
    await records.commit([Put(NOTES, much, ANY)])
    assert (await records.query(NOTES, "oldest", "no such " + fits * 9)).values == []


# Numbers.


class Grade(msgspec.Struct, frozen=True, kw_only=True):
    """A number to look up by and to sort by, and one to count."""

    id: str
    level: int
    points: int = 0


GRADES = Table(
    "grades",
    Grade,
    key="id",
    counters={"points": -MAX_INTEGER},
    indexes={"by_level": ("level", "-points"), "levels": ("level",)},
)


async def test_whole_numbers_are_exact_from_edge_to_edge(storage: Storage) -> None:
    records = storage.open([GRADES])
    numbers = [-MAX_INTEGER, -MAX_INTEGER + 1, -1, 0, 1, MAX_INTEGER - 1, MAX_INTEGER]
    grades = [Grade(id=f"{n}", level=7, points=points) for n, points in enumerate(numbers)]
    await put_new(records, GRADES, *grades)
    await put_new(records, GRADES, *[Grade(id=f"l{level}", level=level) for level in numbers])
    by_points = await records.query(GRADES, "by_level", 7)
    assert by_points.values == grades[::-1]
    behind = await records.query(GRADES, "by_level", 7, after=(0, "3"))
    assert [grade.points for grade in behind.values] == [-1, -MAX_INTEGER + 1, -MAX_INTEGER]
    for level in numbers:
        found = (await records.query(GRADES, "levels", level)).values
        assert found == [Grade(id=f"l{level}", level=level)]


async def test_a_counter_goes_from_edge_to_edge(storage: Storage) -> None:
    records = storage.open([GRADES])
    await put_new(records, GRADES, Grade(id="g", level=1))
    for amount, sum_ in [
        (MAX_INTEGER, MAX_INTEGER),
        (-MAX_INTEGER, 0),
        (-MAX_INTEGER, -MAX_INTEGER),
        (1, -MAX_INTEGER + 1),
        (0, -MAX_INTEGER + 1),
    ]:
        await records.commit([Adjust(GRADES, "g", {"points": amount}, MORNING)])
        assert (await got(records, GRADES, "g")).value.points == sum_


@pytest.mark.parametrize("number", [BEYOND, -BEYOND, 2**63, -(2**63) - 1, 10**40])
async def test_no_number_beyond_the_edge_is_taken(storage: Storage, number: int) -> None:
    records = storage.open([GRADES])
    await put_new(records, GRADES, Grade(id="g", level=1))
    refused: list[Write] = [
        Put(GRADES, Grade(id="level", level=number), ABSENT),
        Put(GRADES, Grade(id="points", level=1, points=abs(number)), ABSENT),
        Adjust(GRADES, "g", {"points": number}, MORNING),
    ]
    for write in refused:
        with pytest.raises(Invalid):
            await records.commit([write])
    assert (await records.scan(GRADES)).values == [Grade(id="g", level=1)]


# What is no text.


@pytest.mark.parametrize("half", ["\ud800", "a\udfff", "\udc00\ud800"])
async def test_half_a_surrogate_pair_is_refused_wherever_it_is_given(
    records: Records, half: str
) -> None:
    for field in ("id", "shelf", "placed", "text"):
        with pytest.raises(Invalid):
            await put_new(records, NOTES, msgspec.structs.replace(Note(id="n"), **{field: half}))
    asked: list[Any] = [
        lambda: records.get(NOTES, half),
        lambda: records.query(NOTES, "oldest", half),
        lambda: records.query(NOTES, "oldest", "a", after=(half, "n")),
        lambda: records.query(NOTES, "oldest", "a", after=("1", half)),
        lambda: records.scan(NOTES, after=(half, half)),
    ]
    for ask in asked:
        with pytest.raises(Invalid):
            await ask()
    await put_new(records, NOTES, Note(id="n"))  # and the engine goes on
    assert ids((await records.scan(NOTES)).values) == ["n"]
