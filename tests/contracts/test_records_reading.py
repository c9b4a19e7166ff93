"""`Records.query` and `scan`: the order, the paging, and values that mean harm."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from ecokart.core.errors import Invalid
from ecokart.core.ports import Records
from ecokart.core.records import ABSENT, ANY, Delete, Page, Put, Write
from tests.contracts.records_kept import (
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

Read = Callable[..., Awaitable[Page[Note]]]

HOSTILE = {
    "single quote": "O'Brien",
    "double quote": 'a "quoted" name',
    "sql": "'; DROP TABLE notes; --",
    "backslash": "back\\slash \\u0041 \\x00",
    "nul": "before\x00after",
    "control": "line\r\nbreak\ttab\x1b[31m\x7f",
    "emoji": "🧴👨‍👩‍👧‍👦🇩🇪",
    "combining": "e\u0301 and é",
    "right to left": "שלום \u202eevil\u202c مرحبا",
    "percent": "100%_$1 {0} %s ?",
    "html": "<script>alert(1)</script>",
    "noncharacter": "\uffff\U0010ffff",
    "space": "  \u00a0 ",
    "long": "x" * 799,
}


async def test_an_index_sorts_both_ways_and_ties_by_key(records: Records) -> None:
    notes = [Note(id=f"{key}", placed=placed) for key, placed in zip("dbeac", "21211", strict=True)]
    await put_new(records, NOTES, *notes)
    oldest = await records.query(NOTES, "oldest", "a")
    newest = await records.query(NOTES, "newest", "a")
    assert ids(oldest.values) == ["a", "b", "c", "d", "e"]
    assert ids(newest.values) == ["e", "d", "c", "b", "a"]
    assert oldest.after is None


async def test_an_index_without_a_sort_field_goes_by_key(records: Records) -> None:
    await put_new(records, NOTES, *[Note(id=key) for key in ("c", "a", "b")])
    assert await paged(records, "by_shelf", "a", limit=2) == ["a", "b", "c"]


async def test_whole_numbers_sort_as_numbers(records: Records) -> None:
    numbers = [10, 9, 0, -1, -10, 100]
    await put_new(records, NOTES, *[Note(id=f"n{number}", number=number) for number in numbers])
    found = await paged(records, "by_number", "a", limit=2)
    assert found == [f"n{number}" for number in sorted(numbers)]


async def test_text_sorts_by_its_code_points(records: Records) -> None:
    # No locale's order, and not UTF-16's, where the emoji comes before U+FFFF.
    places = [
        "b",
        "B",
        "a",
        "A",
        "ä",
        "z",
        "Z",
        "",
        " ",
        "ﬀ",
        "🧴",
        "\uffff",
        "co-op",
        "coop",
        "CO",
        "ß",
    ]
    notes = [Note(id=f"{number}", placed=place) for number, place in enumerate(places)]
    await put_new(records, NOTES, *notes)
    page = await records.query(NOTES, "oldest", "a")
    assert [note.placed for note in page.values] == sorted(places)


async def test_a_query_gives_only_what_has_the_value(records: Records) -> None:
    await put_new(
        records,
        NOTES,
        Note(id="1", shelf="a", placed="1"),
        Note(id="2", shelf="A", placed="2"),
        Note(id="3", shelf="a ", placed="3"),
        Note(id="4", shelf="", placed="4"),
    )
    assert ids((await records.query(NOTES, "oldest", "a")).values) == ["1"]
    assert ids((await records.query(NOTES, "oldest", "")).values) == ["4"]
    assert (await records.query(NOTES, "oldest", "none")).values == []


async def test_an_index_follows_every_change(records: Records) -> None:
    await put_new(records, NOTES, Note(id="n", shelf="a", placed="1"))
    await records.commit([Put(NOTES, Note(id="n", shelf="b", placed="1"), ANY)])
    assert (await records.query(NOTES, "oldest", "a")).values == []
    assert ids((await records.query(NOTES, "oldest", "b")).values) == ["n"]
    await records.commit([Delete(NOTES, "n", ANY)])
    assert (await records.query(NOTES, "oldest", "b")).values == []


async def test_a_record_without_the_sort_field_is_not_in_that_index(records: Records) -> None:
    await put_new(records, NOTES, Note(id="dated", placed="1"), Note(id="undated"))
    assert ids((await records.query(NOTES, "oldest", "a")).values) == ["dated"]
    assert ids((await records.query(NOTES, "by_shelf", "a")).values) == ["dated", "undated"]
    await records.commit([Put(NOTES, Note(id="dated"), ANY)])
    assert (await records.query(NOTES, "newest", "a")).values == []


async def test_a_page_carries_the_versions_of_its_records(records: Records) -> None:
    await put_new(records, NOTES, Note(id="a", placed="1"), Note(id="b", placed="2"))
    await records.commit([Put(NOTES, Note(id="b", placed="2", text="changed"), ANY)])
    for page in (await records.query(NOTES, "oldest", "a"), await records.scan(NOTES)):
        for value, version in zip(page.values, page.versions, strict=True):
            assert await records.get(NOTES, value.id) == (value, version)


@pytest.mark.parametrize("limit", [1, 2, 7, 20, 21, 100])
@pytest.mark.parametrize("index", ["oldest", "newest", "by_shelf"])
async def test_paging_gives_every_record_once(records: Records, index: str, limit: int) -> None:
    notes = [Note(id=f"{number:02}", placed=f"{number // 3}") for number in range(20)]
    await put_new(records, NOTES, *random.Random(4).sample(notes, 20), Note(id="x", shelf="b"))
    expected = [note.id for note in notes]
    if index == "newest":
        expected.reverse()
    assert await paged(records, index, "a", limit) == expected


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("index", ["oldest", "newest"])
async def test_paging_keeps_what_stays_while_others_come_and_go(
    records: Records, index: str, seed: int
) -> None:
    chance = random.Random(seed)
    places = [f"{number:03}" for number in range(60)]
    chance.shuffle(places)
    staying = [Note(id=f"stay{n}", placed=place) for n, place in enumerate(places[:20])]
    going = [Note(id=f"go{n}", placed=place) for n, place in enumerate(places[20:40])]
    coming = [Note(id=f"come{n}", placed=place) for n, place in enumerate(places[40:])]
    await put_new(records, NOTES, *staying, *going)
    seen: list[str] = []
    page = await records.query(NOTES, index, "a", limit=4)
    while True:
        seen += ids(page.values)
        if coming:
            come, go = coming.pop(), going.pop()
            await records.commit([Put(NOTES, come, ABSENT), Delete(NOTES, go.id, ANY)])
        if page.after is None:
            break
        page = await records.query(NOTES, index, "a", after=page.after, limit=4)
    stayed = [key for key in seen if key.startswith("stay")]
    order = sorted(staying, key=lambda note: note.placed or "", reverse=index == "newest")
    assert stayed == ids(order)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("limit", [1, 3, 10])
async def test_pages_read_while_others_write_hold_what_stays_exactly_once(
    storage: Storage, limit: int
) -> None:
    """Up and down an index full of ties, and over the table, while two others put, move and delete."""
    reader, writer = storage.open(), storage.open()
    staying = [Note(id=f"stay{n:02}", placed=f"{n % 4}") for n in range(16)]
    await put_new(reader, NOTES, *staying)
    by_place = [note.id for note in sorted(staying, key=lambda note: note.placed or "")]
    reading, written = True, 0

    async def disturb(records: Records, name: str) -> None:
        nonlocal written
        chance = random.Random(name)
        while reading:
            key, place = f"{name}{chance.randrange(12)}", f"{chance.randrange(4)}"
            note = Note(id=key, placed=place, shelf=chance.choice("aab"))
            writes: list[Write] = [Put(NOTES, note, ANY), Delete(NOTES, key, ANY)]
            await records.commit([chance.choice(writes)])
            written += 1

    async def stays(read: Read) -> list[str]:
        keys: list[str] = []
        page = await read(limit=limit)
        while page.after:
            await asyncio.sleep(
                0
            )  # also where reading waits for nothing, the writers have their turn
            keys += ids(page.values)
            page = await read(limit=limit, after=page.after)
        return [key for key in keys + ids(page.values) if key.startswith("stay")]

    async def read_all() -> None:
        nonlocal reading
        try:
            while written < 60:
                assert await stays(partial(reader.query, NOTES, "oldest", "a")) == by_place
                assert await stays(partial(reader.query, NOTES, "newest", "a")) == by_place[::-1]
                assert await stays(partial(reader.query, NOTES, "by_shelf", "a")) == ids(staying)
                assert sorted(await stays(partial(reader.scan, NOTES))) == ids(staying)
        finally:
            reading = False

    await asyncio.gather(read_all(), disturb(writer, "come"), disturb(reader, "go"))


async def test_a_cursor_may_be_a_place_where_no_record_is(records: Records) -> None:
    times = ["2026-01", "2026-02", "2026-03"]
    await put_new(records, NOTES, *[Note(id=f"n{time}", placed=time) for time in times])

    async def behind(index: str, place: str, key: str = "") -> list[str]:
        page = await records.query(NOTES, index, "a", after=(place, key))
        return [note.placed or "" for note in page.values]

    assert await behind("oldest", "2026-02") == ["2026-02", "2026-03"]
    assert await behind("oldest", "2026-02", "n2026-02") == ["2026-03"]
    assert await behind("oldest", "2026-01-15") == ["2026-02", "2026-03"]
    assert await behind("oldest", "2027") == []
    assert await behind("newest", "2026-02") == ["2026-01"]
    assert await behind("newest", "2026-02-15") == ["2026-02", "2026-01"]


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_page_of_nothing_is_refused(records: Records, limit: int) -> None:
    """It would have no end behind which the next could begin."""
    await put_new(records, NOTES, Note(id="n"))
    with pytest.raises(Invalid):
        await records.query(NOTES, "by_shelf", "a", limit=limit)
    with pytest.raises(Invalid):
        await records.scan(NOTES, limit=limit)


async def test_the_last_page_says_that_it_is_the_last(records: Records) -> None:
    await put_new(records, NOTES, *[Note(id=f"{n}", placed=f"{n}") for n in range(4)])
    for limit, sizes in [(1, [1] * 4), (2, [2, 2]), (3, [3, 1]), (4, [4]), (5, [4])]:
        for read in (partial(records.query, NOTES, "oldest", "a"), partial(records.scan, NOTES)):
            pages = [await read(limit=limit)]
            while pages[-1].after:
                pages.append(await read(limit=limit, after=pages[-1].after))
            assert [len(page.values) for page in pages] == sizes
    none = await records.query(NOTES, "oldest", "none")
    assert (none.values, none.versions, none.after) == ([], [], None)
    assert await records.scan(STOCK) == ([], [], None)


async def test_a_scan_gives_every_record_once(records: Records) -> None:
    await put_new(records, NOTES, *[Note(id=f"n{number}") for number in range(25)])
    seen: list[str] = []
    page = await records.scan(NOTES, limit=10)
    assert len(page.values) == 10
    while True:
        seen += ids(page.values)
        if page.after is None:
            break
        page = await records.scan(NOTES, after=page.after, limit=10)
    assert sorted(seen) == sorted(f"n{number}" for number in range(25))


async def test_tables_keep_apart(records: Records) -> None:
    await put_new(records, NOTES, Note(id="same", text="a note"))
    await put_new(records, STOCK, Stock(id="same", title="a stock"))
    await records.commit([Delete(NOTES, "same", ANY)])
    assert (await got(records, STOCK, "same")).value.title == "a stock"
    assert (await records.scan(NOTES)).values == []


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
async def test_any_text_comes_back_as_it_was(records: Records, text: str) -> None:
    """As a value, as a key, as an indexed value, as a sort value and as a cursor."""
    note = Note(id=text, shelf=text, placed=text, text=text)
    await put_new(records, NOTES, note, Note(id="zz" + text, shelf=text, placed=text + "z"))
    assert (await got(records, NOTES, text)).value == note
    page = await records.query(NOTES, "oldest", text, limit=1)
    assert page.values == [note]
    rest = await records.query(NOTES, "oldest", text, after=page.after)
    assert ids(rest.values) == ["zz" + text]
    assert await paged(records, "newest", text, limit=1) == ["zz" + text, text]
    version = (await got(records, NOTES, text)).version
    await records.commit([Delete(NOTES, text, version)])
    assert ids((await records.scan(NOTES)).values) == ["zz" + text]
    await put_new(records, STOCK, Stock(id=text, available=1, title=text))
    await records.commit([take(text)])
    assert (await got(records, STOCK, text)).value.title == text


async def test_empty_text_and_nothing_are_values(records: Records) -> None:
    note = Note(id="n", shelf="", placed="", text="", number=0)
    await put_new(records, NOTES, note)
    await put_new(records, STOCK, Stock(id="s"))
    assert (await got(records, NOTES, "n")).value == note
    assert ids((await records.query(NOTES, "oldest", "")).values) == ["n"]
    assert ids((await records.query(NOTES, "by_number", "")).values) == ["n"]
    assert (await got(records, STOCK, "s")).value == Stock(id="s")


async def test_texts_that_only_look_the_same_are_different_keys(records: Records) -> None:
    keys = ["é", "e\u0301", "E\u0301", "a", "A", "a ", "а"]  # the last one is Cyrillic
    await put_new(records, NOTES, *[Note(id=key, text=str(n)) for n, key in enumerate(keys)])
    for number, key in enumerate(keys):
        assert (await got(records, NOTES, key)).value.text == str(number)
