"""The steps of a copy, on records that are changed between and beneath them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ecokart.copying.copy import Compared, ShopCopy
from ecokart.copying.model import (
    COPIES,
    ArrivalUnfinished,
    NoShopThere,
    SameShop,
    TargetInUse,
    place,
    refuse_unfinished,
)
from ecokart.copying.patience import PAGE
from ecokart.core.ports import Records
from ecokart.core.records import ABSENT, ANY, MAX_RECORD_BYTES, Adjust, Delete, Put, Table
from ecokart.engines.records_sqlite import SqliteRecords
from tests.clock import ManualClock
from tests.contracts.records_kept import (
    MORNING,
    NOTES,
    STOCK,
    TABLES,
    VISITS,
    Note,
    Stock,
    Visit,
    put_new,
)

FROM, TO = "sqlite:///from.db", "sqlite:///to.db"
MANY = 2 * PAGE + 500  # notes, on three pages

Open = Callable[..., Records]


class Interrupted(Exception):
    """As if the process had ended here."""


def quietly(table: Table[Any], records: int) -> None:
    """Nobody looks at the progress."""


@pytest.fixture
async def opened(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Open]:
    every: list[Records] = []

    def opened(
        name: str, tables: Sequence[Table[Any]] = TABLES, at: ManualClock = clock
    ) -> Records:
        every.append(SqliteRecords(tmp_path / name, [*tables, COPIES], at))
        return every[-1]

    yield opened
    for records in every:
        await records.close()


@pytest.fixture
async def source(opened: Open) -> Records:
    """Notes of several pages, stock that was moved, and a visit that ends at noon."""
    source = opened("from.db")
    await put_new(source, NOTES, *[Note(id=f"n{number:04}") for number in range(MANY)])
    await put_new(source, STOCK, Stock(id="tea", available=9), Stock(id="cup", available=3))
    await source.commit(
        [
            Adjust(
                STOCK, "tea", {"available": -2, "reserved": 2}, MORNING + timedelta(microseconds=7)
            )
        ]
    )
    await put_new(source, VISITS, Visit(id="v", until=MORNING + timedelta(hours=3)))
    return source


@pytest.fixture
def target(opened: Open) -> Records:
    return opened("to.db")


@pytest.fixture
def shop(source: Records, target: Records, clock: ManualClock) -> ShopCopy:
    return ShopCopy(source, target, [*TABLES, COPIES], clock)


async def everything(records: Records, table: Table[Any]) -> list[Any]:
    page = await records.scan(table, limit=10_000)
    assert page.after is None
    return page.values


async def same(one: Records, other: Records) -> bool:
    return all([await everything(one, t) == await everything(other, t) for t in TABLES])


def differing(compared: list[Compared]) -> dict[str, Sequence[str]]:
    return {one.table: one.keys for one in compared if one.differing}


async def test_everything_arrives_exactly(shop: ShopCopy, source: Records, target: Records) -> None:
    copy = await shop.copy_all(await shop.begin(FROM, TO), quietly)
    assert {name: place.records for name, place in copy.tables.items()} == {
        "notes": MANY,
        "stock": 2,
        "visits": 1,
    }
    assert await same(source, target)
    tea = next(one for one in await everything(target, STOCK) if one.id == "tea")
    assert (tea.available, tea.reserved) == (7, 2)
    assert tea.changed == MORNING + timedelta(microseconds=7)
    compared = await shop.verify(quietly)
    assert differing(compared) == {}
    assert [(one.source.count, one.target.count) for one in compared] == [
        (MANY,) * 2,
        (2, 2),
        (1, 1),
    ]
    assert all(one.source.checksum == one.target.checksum for one in compared)


async def test_counters_go_on_where_they_are(shop: ShopCopy, target: Records) -> None:
    await shop.copy_all(await shop.begin(FROM, TO), quietly)
    await target.commit([Adjust(STOCK, "tea", {"available": -7}, MORNING)])
    tea = await target.get(STOCK, "tea")
    assert tea
    assert tea.value.available == 0


async def test_an_interrupted_copy_goes_on(
    shop: ShopCopy, source: Records, target: Records, clock: ManualClock
) -> None:
    def break_off(table: Table[Any], records: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        await shop.copy_all(await shop.begin(FROM, TO), break_off)
    # Behind the place that was reached: a copy that began again would bring it.
    await source.commit([Put(NOTES, Note(id="n0000", text="changed"), ANY)])
    again = ShopCopy(source, target, TABLES, clock)
    begun = await again.begin(FROM, TO)
    assert begun.tables["notes"].records == PAGE
    await again.copy_all(begun, quietly)
    assert differing(await again.verify(quietly)) == {"notes": ["n0000"]}
    assert await again.catch_up(quietly) == 1
    assert await same(source, target)


async def test_a_pass_carries_over_what_differs_and_nothing_else(
    shop: ShopCopy, source: Records, target: Records
) -> None:
    await shop.copy_all(await shop.begin(FROM, TO), quietly)
    assert await shop.catch_up(quietly) == 0
    await source.commit(
        [
            Put(NOTES, Note(id="n0003", text="changed"), ANY),
            Put(NOTES, Note(id="new"), ABSENT),
            Delete(NOTES, "n2000", ANY),
            Adjust(STOCK, "cup", {"available": -1}, MORNING),
        ]
    )
    before = await target.get(NOTES, "n0004")
    assert await shop.catch_up(quietly) == 4
    assert await same(source, target)
    assert await target.get(NOTES, "n0004") == before  # its version too: nobody wrote it
    assert await shop.catch_up(quietly) == 0


async def test_what_differs_is_named(shop: ShopCopy, source: Records, target: Records) -> None:
    await shop.copy_all(await shop.begin(FROM, TO), quietly)
    await target.commit([Delete(NOTES, "n0001", ANY), Put(NOTES, Note(id="foreign"), ABSENT)])
    await target.commit([Adjust(STOCK, "tea", {"available": 1, "reserved": -1}, MORNING)])
    compared = await shop.verify(quietly)
    assert differing(compared) == {"notes": ["n0001", "foreign"], "stock": ["tea"]}
    assert (
        compared[0].source.count == compared[0].target.count
    )  # a count alone would have missed it


async def test_what_expires_between_the_two_sides_is_no_difference(
    opened: Open, source: Records, target: Records, clock: ManualClock
) -> None:
    late = ManualClock()
    late.advance(hours=4)
    shop = ShopCopy(source, target, TABLES, clock)
    await shop.copy_all(await shop.begin(FROM, TO), quietly)
    # The source as it is seen later: its visit has ended, while the target was read before.
    shop = ShopCopy(opened("from.db", at=late), target, TABLES, late)
    compared = {one.table: one for one in await shop.verify(quietly)}
    assert (compared["visits"].source.count, compared["visits"].target.count) == (0, 1)
    assert compared["visits"].differing == 0
    assert await shop.catch_up(quietly) == 0


async def test_a_record_that_no_engine_takes_is_named_and_holds_up_no_other(
    opened: Open, clock: ManualClock
) -> None:
    def doubled(raw: dict[str, Any]) -> dict[str, Any]:
        return raw | {"text": raw["text"] * 2}

    longer = Table("notes", Note, key="id", shape=2, upgrades={1: doubled})
    large = Note(id="large", text="x" * (MAX_RECORD_BYTES // 2 + 1))
    await put_new(opened("from.db"), NOTES, replace(large, id="small", text="x"), large)
    source, target = opened("from.db", [longer]), opened("to.db", [longer])
    shop = ShopCopy(source, target, [longer], clock)
    await shop.copy_all(await shop.begin(FROM, TO), quietly)
    assert [note.id for note in await everything(target, longer)] == ["small"]
    assert await shop.catch_up(quietly) == 0
    assert differing(await shop.verify(quietly)) == {"notes": ["large"]}
    assert "bytes" in shop.refused["notes/large"]


async def test_large_records_go_in_commits_that_fit(opened: Open, clock: ManualClock) -> None:
    source, target = opened("from.db"), opened("to.db")
    for number in range(15):
        await put_new(source, NOTES, Note(id=f"n{number:02}", text="x" * 390_000))
    shop = ShopCopy(source, target, TABLES, clock)
    await shop.copy_all(await shop.begin(FROM, TO), quietly)
    assert await same(source, target)
    assert not shop.refused


async def test_a_copy_that_makes_no_sense_is_refused(
    shop: ShopCopy, opened: Open, source: Records, target: Records, clock: ManualClock
) -> None:
    with pytest.raises(SameShop):
        await shop.begin(FROM, "sqlite:///./" + FROM.removeprefix("sqlite:///"))
    with pytest.raises(NoShopThere):
        await ShopCopy(opened("empty.db"), target, TABLES, clock).begin(FROM, TO)
    other = opened("other.db")
    await put_new(other, NOTES, Note(id="mine"))
    with pytest.raises(TargetInUse, match="its notes aren't empty"):
        await ShopCopy(source, other, TABLES, clock).begin(FROM, TO)
    assert await everything(other, COPIES) == []


async def test_a_target_takes_part_in_one_copy(shop: ShopCopy, target: Records) -> None:
    copy = await shop.begin(FROM, TO)
    assert await shop.begin(FROM, TO) == copy
    with pytest.raises(TargetInUse, match=r"is being copied to from .*from\.db"):
        await shop.begin("sqlite:///elsewhere.db", TO)
    with pytest.raises(ArrivalUnfinished):
        await refuse_unfinished(target)
    await shop.finish(copy)
    await refuse_unfinished(target)
    with pytest.raises(TargetInUse, match="finished before"):
        await shop.begin(FROM, TO)


def test_a_place_says_nothing_of_who_asks() -> None:
    url = "postgresql://ann:secret@db:5432/shop?schema=one"
    assert place(url) == "postgresql://db:5432/shop?schema=one"
    assert place("dynamodb://eu-central-1/shop-") == "dynamodb://eu-central-1/shop-"
    assert "secret" not in msgspec.json.encode(place(url)).decode()
