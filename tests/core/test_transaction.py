"""`Transaction` and `transact`: buffered, atomic, run again when somebody was quicker."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from ecokart.core.errors import Conflict
from ecokart.core.events import OUTBOX
from ecokart.core.ports import Ports
from ecokart.core.records import ABSENT, ANY, Adjust, BelowFloor, Delete, OutcomeUnknown, Put
from ecokart.core.transaction import ATTEMPTS, AlreadyThere, Contended, Transaction, transact
from ecokart.engines.faulty import Chaos, Faults, faulty
from tests.clock import ManualClock
from tests.core.little_shop import (
    GUESTS,
    WARES,
    Greeted,
    Guest,
    Start,
    Ware,
    commit,
    everything,
    found,
)

ADA = Guest(name="Ada")


class SoldOut(Conflict):
    """There is none left."""


async def count_up(tx: Transaction, name: str) -> int:
    guest = await tx.get(GUESTS, name) or Guest(name=name)
    guest = msgspec.structs.replace(guest, greetings=guest.greetings + 1)
    tx.put(GUESTS, guest)
    return guest.greetings


async def sell(tx: Transaction, sku: str, count: int) -> None:
    tx.adjust(WARES, sku, left=-count, sold=count)


async def test_nothing_is_stored_before_the_end(ports: Ports) -> None:
    async def work(tx: Transaction) -> str:
        tx.add(GUESTS, ADA)
        tx.emit(Greeted(guest="Ada"))
        assert await ports.records.get(GUESTS, "Ada") is None
        return "result"

    assert await transact(ports, work) == "result"
    assert await ports.records.get(GUESTS, "Ada") is not None


async def test_what_raises_stores_nothing(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        tx.add(GUESTS, ADA)
        tx.emit(Greeted(guest="Ada"))
        raise SoldOut

    with pytest.raises(SoldOut):
        await transact(ports, work)
    assert await everything(ports.records, GUESTS) == []
    assert await everything(ports.records, OUTBOX) == []
    assert not ports.handoff.entries


async def test_a_transaction_reads_its_own_writes(ports: Ports, clock: ManualClock) -> None:
    async def work(tx: Transaction) -> None:
        assert await tx.get(GUESTS, "Ada") is None
        tx.put(GUESTS, ADA)
        assert await tx.get(GUESTS, "Ada") == Guest(name="Ada", seen=clock.now())
        tx.put(GUESTS, Guest(name="Ada", greetings=2))
        tx.delete(GUESTS, "Bo")
        assert await tx.get(GUESTS, "Bo") is None
        tx.delete(GUESTS, "Ada")
        assert await tx.get(GUESTS, "Ada") is None

    await commit(ports, Put(GUESTS, Guest(name="Bo"), ABSENT))
    await transact(ports, work)
    assert await everything(ports.records, GUESTS) == []


async def test_a_record_can_be_added_read_and_put_again(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        tx.add(GUESTS, ADA)
        assert await count_up(tx, "Ada") == 1
        assert await count_up(tx, "Ada") == 2

    await transact(ports, work)
    assert (await found(ports, GUESTS, "Ada")).greetings == 2


async def test_adding_what_is_there_unread_is_refused_after_a_second_look(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        runs.append(1)
        tx.add(GUESTS, ADA)
        tx.emit(Greeted(guest="Ada"))

    runs: list[int] = []
    await commit(ports, Put(GUESTS, Guest(name="Ada", greetings=7), ABSENT))
    with pytest.raises(AlreadyThere, match="guests/Ada"):
        await transact(ports, work)
    assert len(runs) == 2
    assert (await found(ports, GUESTS, "Ada")).greetings == 7
    assert await everything(ports.records, OUTBOX) == []


async def test_a_key_made_anew_in_each_run_may_be_taken_often(ports: Ports) -> None:
    async def work(tx: Transaction) -> str:
        name = names.pop(0)
        tx.add(GUESTS, Guest(name=name))
        return name

    names = ["Ada", "Bo", "Cy", "Di"]
    await commit(ports, *[Put(GUESTS, Guest(name=name), ABSENT) for name in names[:3]])
    assert await transact(ports, work) == "Di"


async def test_who_read_that_there_is_none_may_be_overtaken_often(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        await commit(ports, Delete(GUESTS, "Ada", ANY))  # what came up meanwhile went again
        runs.append(1)
        if await tx.get(GUESTS, "Ada") is None and len(runs) < 4:
            await commit(ports, Put(GUESTS, Guest(name="Ada", greetings=7), ABSENT))
        tx.add(GUESTS, ADA)

    runs: list[int] = []
    await transact(ports, work)
    assert len(runs) == 4
    assert (await found(ports, GUESTS, "Ada")).greetings == 0


async def test_a_record_can_be_deleted_and_added_again(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        assert await tx.get(GUESTS, "Ada") is not None
        tx.delete(GUESTS, "Ada")
        tx.add(GUESTS, Guest(name="Ada", greetings=9))

    await commit(ports, Put(GUESTS, ADA, ABSENT))
    await transact(ports, work)
    assert (await found(ports, GUESTS, "Ada")).greetings == 9


async def test_a_put_sets_the_touched_time(ports: Ports, clock: ManualClock) -> None:
    clock.advance(days=1)
    await transact(ports, count_up, "Ada")
    assert (await found(ports, GUESTS, "Ada")).seen == clock.now()


async def test_adjustments_of_one_record_become_their_sum(ports: Ports) -> None:
    async def work(tx: Transaction) -> list[object]:
        await sell(tx, "soap", 1)
        await sell(tx, "soap", 2)
        tx.adjust(WARES, "soap", left=10)
        return list(tx.writes())

    await commit(ports, Put(WARES, Ware(sku="soap", left=3), ABSENT))
    (write,) = await transact(ports, work)
    assert isinstance(write, Adjust)
    assert write.add == {"left": 7, "sold": 3}
    ware = await found(ports, WARES, "soap")
    assert (ware.left, ware.sold) == (10, 3)


async def test_adjustments_that_cancel_out_are_not_written(ports: Ports) -> None:
    async def work(tx: Transaction) -> int:
        tx.adjust(WARES, "soap", left=-1, sold=1)
        tx.adjust(WARES, "soap", left=1, sold=-1)
        return len(tx.writes())

    await commit(ports, Put(WARES, Ware(sku="soap"), ABSENT))
    before = await ports.records.get(WARES, "soap")
    assert await transact(ports, work) == 0
    assert await ports.records.get(WARES, "soap") == before


async def test_what_was_not_read_cannot_be_put_or_checked(ports: Ports) -> None:
    tx = Transaction(ports.records, ports.clock.now(), ports.new_id)
    with pytest.raises(KeyError):
        tx.put(GUESTS, ADA)
    with pytest.raises(KeyError):
        tx.check(GUESTS, "Ada")
    assert tx.writes() == []


async def test_a_record_is_either_adjusted_or_written_whole(ports: Ports) -> None:
    tx = Transaction(ports.records, ports.clock.now(), ports.new_id)
    await tx.get(WARES, "soap")
    tx.adjust(WARES, "soap", left=1)
    for write in (tx.put, tx.add, tx.overwrite):
        with pytest.raises(TypeError):
            write(WARES, Ware(sku="soap"))
    with pytest.raises(TypeError):
        tx.check(WARES, "soap")
    tx.overwrite(WARES, Ware(sku="comb"))
    with pytest.raises(TypeError):
        tx.adjust(WARES, "comb", left=1)
    assert len(tx.writes()) == 2


async def test_what_was_read_is_read_again_as_it_was(ports: Ports) -> None:
    """Else a put could overwrite a change that was made between the two readings."""

    async def work(tx: Transaction) -> None:
        first = await tx.get(GUESTS, "Ada")
        if not runs:
            await commit(ports, Put(GUESTS, Guest(name="Ada", greetings=100), ANY))
        runs.append(1)
        assert await tx.get(GUESTS, "Ada") == first
        await count_up(tx, "Ada")

    runs: list[int] = []
    await commit(ports, Put(GUESTS, ADA, ABSENT))
    await transact(ports, work)
    assert (await found(ports, GUESTS, "Ada")).greetings == 101
    assert len(runs) == 2


async def test_who_was_too_slow_runs_again_on_what_is_there_now(ports: Ports) -> None:
    counts = await asyncio.gather(*[transact(ports, count_up, "Ada") for _ in range(6)])
    assert sorted(counts) == [1, 2, 3, 4, 5, 6]
    assert (await found(ports, GUESTS, "Ada")).greetings == 6


async def test_who_is_always_too_slow_gives_up_at_last(ports: Ports) -> None:
    async def overtaken(tx: Transaction) -> None:
        guest = await tx.get(GUESTS, "Ada")
        runs.append(guest.greetings if guest else 0)
        tx.put(GUESTS, Guest(name="Ada", greetings=-1))
        tx.emit(Greeted(guest="Ada"))
        await commit(ports, Put(GUESTS, Guest(name="Ada", greetings=len(runs)), ANY))

    runs: list[int] = []
    with pytest.raises(Contended):
        await transact(ports, overtaken)
    assert runs == list(range(ATTEMPTS))
    assert (await found(ports, GUESTS, "Ada")).greetings == ATTEMPTS
    assert await everything(ports.records, OUTBOX) == []


async def test_a_counter_that_ran_out_is_not_tried_again(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        runs.append(1)
        tx.add(GUESTS, ADA)
        await sell(tx, "soap", 4)

    runs: list[int] = []
    await commit(ports, Put(WARES, Ware(sku="soap", left=3), ABSENT))
    with pytest.raises(BelowFloor):
        await transact(ports, work)
    assert len(runs) == 1
    assert await everything(ports.records, GUESTS) == []


async def test_an_adjustment_says_what_its_refusal_means(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        tx.adjust(WARES, "comb", left=-1, refusal=SoldOut("no comb"))
        tx.adjust(WARES, "soap", left=-1, refusal=SoldOut("no soap"))

    await commit(ports, Put(WARES, Ware(sku="comb", left=1), ABSENT))
    await commit(ports, Put(WARES, Ware(sku="soap"), ABSENT))
    with pytest.raises(SoldOut, match="no soap"):
        await transact(ports, work)


async def test_a_check_makes_a_decision_hold(ports: Ports) -> None:
    async def add_if_ada_is_new(tx: Transaction) -> None:
        ada = await tx.get(GUESTS, "Ada")
        if not runs:
            await commit(ports, Put(GUESTS, Guest(name="Ada", greetings=5), ANY))
        runs.append(1)
        if ada and ada.greetings == 0:
            tx.check(GUESTS, "Ada")
            tx.add(GUESTS, Guest(name="Bo"))

    runs: list[int] = []
    await commit(ports, Put(GUESTS, ADA, ABSENT))
    await transact(ports, add_if_ada_is_new)
    assert len(runs) == 2
    assert await ports.records.get(GUESTS, "Bo") is None


async def test_a_delete_of_what_was_read_holds_only_if_nobody_changed_it(ports: Ports) -> None:
    async def forget_who_was_never_greeted(tx: Transaction) -> None:
        guest = await tx.get(GUESTS, "Ada")
        if not runs:
            await commit(ports, Put(GUESTS, Guest(name="Ada", greetings=1), ANY))
        runs.append(1)
        if guest and guest.greetings == 0:
            tx.delete(GUESTS, "Ada")

    runs: list[int] = []
    await commit(ports, Put(GUESTS, ADA, ABSENT))
    await transact(ports, forget_who_was_never_greeted)
    assert (await found(ports, GUESTS, "Ada")).greetings == 1


async def test_an_event_is_in_the_commit_of_its_effect(ports: Ports, clock: ManualClock) -> None:
    async def work(tx: Transaction) -> None:
        await count_up(tx, "Ada")
        tx.emit(Greeted(guest="Ada"))
        tx.emit(Greeted(guest="Bo"))

    await transact(ports, work)
    (entry,) = await everything(ports.records, OUTBOX)
    assert entry.at == clock.now()
    assert [event.name for event in entry.events] == ["guest.greeted"] * 2
    decoded = [msgspec.json.decode(event.event, type=Greeted) for event in entry.events]
    assert [event.guest for event in decoded] == ["Ada", "Bo"]
    assert [event.id for event in decoded] == [event.id for event in entry.events]
    assert decoded[0].id < decoded[1].id
    assert [handed.id for handed in ports.handoff.entries] == [entry.id]


async def test_a_conflict_takes_the_event_along(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        await sell(tx, "soap", 1)
        tx.emit(Greeted(guest="Ada"))

    await commit(ports, Put(WARES, Ware(sku="soap"), ABSENT))
    with pytest.raises(BelowFloor):
        await transact(ports, work)
    assert await everything(ports.records, OUTBOX) == []
    assert not ports.handoff.entries


async def test_an_unknown_outcome_is_said_and_the_event_is_not_lost(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        runs.append(1)
        tx.emit(Greeted(guest="Ada"))

    runs: list[int] = []
    with pytest.raises(OutcomeUnknown):
        await transact(faulty(ports, Chaos(1, Faults(answer_lost=1))), work)
    assert len(runs) == 1
    assert len(await everything(ports.records, OUTBOX)) == 1


async def test_two_processes_lose_no_update(start: Start) -> None:
    one, two = start(), start()
    work = [transact([one, two][n % 2], count_up, "Ada") for n in range(6)]
    assert sorted(await asyncio.gather(*work)) == [1, 2, 3, 4, 5, 6]


async def test_deleting_what_is_not_there_writes_nothing(ports: Ports) -> None:
    tx = Transaction(ports.records, ports.clock.now(), ports.new_id)
    await tx.get(GUESTS, "Ada")
    tx.delete(GUESTS, "Ada")
    assert tx.writes() == []
    tx.delete(GUESTS, "Bo")  # never read: whatever is there
    assert tx.writes() == [Delete(GUESTS, "Bo", ANY)]
