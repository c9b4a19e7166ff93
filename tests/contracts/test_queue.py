"""`Queue`: at least once, out of sight while in hand, counted, buried and brought back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
import pytest
from msgspec.structs import replace

from ecokart.core.events import MAX_EVENT_BYTES
from ecokart.core.ports import Delivery, Job, Queue
from tests.clock import ManualClock
from tests.contracts.queues import Pair, Passing, QueueEngine


def job(number: int | str, clock: ManualClock, *, lane: str = "orders") -> Job:
    return Job(
        id=f"job{number}",
        lane=lane,
        handler="orders.jobs.ship",
        event=msgspec.Raw(b'{"name":"order.placed","total":[1290,"EUR"]}'),
        sent_at=clock.now(),
    )


def names(deliveries: Iterable[Delivery]) -> list[str]:
    return sorted(delivery.job.id for delivery in deliveries)


async def received(queue: Queue, lane: str = "orders") -> Delivery:
    """The one job that is due; a server's clock may be a little behind ours."""
    (delivery,) = await queue.receive(lane, limit=10, wait_seconds=5)
    return delivery


async def test_a_job_is_delivered_as_it_was_sent(queue: Queue, clock: ManualClock) -> None:
    sent = job(1, clock)
    await queue.send([sent])
    assert (await received(queue)).job == sent


async def test_nothing_is_delivered_where_nothing_was_sent(queue: Queue) -> None:
    await queue.send([])
    assert await queue.receive("orders", limit=10) == []


async def test_the_largest_event_is_delivered(queue: Queue, clock: ManualClock) -> None:
    """Also where every character of it takes twice the room on the way."""
    text = "\uffff" * (MAX_EVENT_BYTES // 3 - 1)
    largest = replace(job(1, clock), event=msgspec.Raw(f'"{text}"'.encode()))
    await queue.send([largest, job(2, clock)])
    by_id = {one.job.id: one.job for one in await queue.receive("orders", limit=10)}
    assert msgspec.json.decode(by_id["job1"].event) == text


async def test_a_job_in_hand_is_out_of_sight_for_ninety_seconds(
    queue: Queue, clock: ManualClock, passing: Passing
) -> None:
    await queue.send([job(1, clock)])
    await received(queue)
    assert await queue.receive("orders", limit=10) == []
    await passing.nearly(passing.lease_seconds)
    assert await queue.receive("orders", limit=10) == []
    await passing.rest(passing.lease_seconds)
    assert (await received(queue)).job.id == "job1"


async def test_a_job_that_is_done_never_comes_back(
    queue: Queue, clock: ManualClock, passing: Passing
) -> None:
    await queue.send([job(1, clock), job(2, clock)])
    await queue.done(await queue.receive("orders", limit=10))
    await passing.whole(passing.lease_seconds)
    assert await queue.receive("orders", limit=10) == []
    assert (await queue.depth("orders")).waiting == 0


async def test_a_job_that_waits_is_not_added_again(
    queue: Queue, clock: ManualClock, queue_engine: QueueEngine
) -> None:
    await queue.send([job(1, clock), job(2, clock)])
    await queue.send([job(1, clock), job(3, clock)])
    await queue.send([job(4, clock), job(4, clock)])
    got = names(await queue.receive("orders", limit=10))
    assert sorted(set(got)) == ["job1", "job2", "job3", "job4"]
    assert len(got) == 4 if queue_engine.looks else got.count("job4") == 1


async def test_many_jobs_are_sent_at_once_and_received_in_parts(
    queue: Queue, clock: ManualClock
) -> None:
    await queue.send([job(number, clock) for number in range(250)])
    seen: list[Delivery] = []
    while deliveries := await queue.receive("orders", limit=64):
        assert len(deliveries) <= 64
        seen += deliveries
    assert names(seen) == sorted(f"job{number}" for number in range(250))
    await queue.done(seen)
    assert (await queue.depth("orders")).waiting == 0


async def test_lanes_keep_apart(queue: Queue, clock: ManualClock) -> None:
    await queue.send([job(1, clock), job(2, clock, lane="mail")])
    assert names(await queue.receive("mail", limit=10)) == ["job2"]
    assert names(await queue.receive("orders", limit=10)) == ["job1"]


async def test_a_retry_comes_back_after_its_delay_and_counts(
    queue: Queue, clock: ManualClock, passing: Passing, queue_engine: QueueEngine
) -> None:
    delay_seconds = passing.lease_seconds * 2
    await queue.send([job(1, clock)])
    await queue.retry(await received(queue), delay_seconds=delay_seconds, error="no answer")
    await passing.nearly(delay_seconds)
    assert await queue.receive("orders", limit=10) == []
    await passing.rest(delay_seconds)
    again = await received(queue)
    assert again.job.attempts == 1
    assert again.job.error == ("no answer" if queue_engine.looks else "")
    await queue.retry(again, delay_seconds=0, error="no answer yet")
    third = await received(queue)
    assert third.job.attempts == 2
    assert third.job.event == job(1, clock).event


async def test_an_attempt_that_was_never_settled_counts_too(
    queue: Queue, clock: ManualClock, passing: Passing
) -> None:
    """As by a job that kills its worker: nobody is left to give it back."""
    await queue.send([job(1, clock)])
    for attempts in range(2):
        delivery = await received(queue)
        assert (delivery.job.attempts, delivery.job.error) == (attempts, "")
        await passing.whole(passing.lease_seconds)
    await queue.retry(await received(queue), delay_seconds=0, error="at last a word")
    assert (await received(queue)).job.attempts == 3


async def test_a_buried_job_rests_until_it_is_redriven(
    queue: Queue, clock: ManualClock, passing: Passing
) -> None:
    await queue.send([job(1, clock), job(2, clock)])
    first, second = await queue.receive("orders", limit=10)
    await queue.done([second])
    await queue.retry(first, delay_seconds=0, error="once")
    await queue.bury(await received(queue), error="for good")
    await passing.whole(passing.lease_seconds)
    clock.advance(days=30)
    assert await queue.receive("orders", limit=10) == []
    (dead,) = (await queue.dead()).values
    assert (dead.id, dead.lane, dead.attempts, dead.error) == (
        first.job.id,
        "orders",
        2,
        "for good",
    )
    assert await queue.redrive([dead.id, "never"]) == 1
    assert (await queue.dead()).values == []
    revived = (await received(queue)).job
    assert (revived.id, revived.attempts, revived.error) == (dead.id, 0, "")
    assert await queue.redrive([dead.id]) == 0  # it lives already


async def test_dead_letters_are_listed_oldest_first_page_by_page(
    queue: Queue, clock: ManualClock
) -> None:
    for number, lane in enumerate(["orders", "mail", "orders", "mail", "orders"]):
        await queue.send([job(number, clock, lane=lane)])
        await queue.bury(await received(queue, lane), error="no")
        clock.advance(seconds=1)
    listed: list[str] = []
    page = await queue.dead(limit=2)
    while True:
        assert len(page.values) <= 2
        listed += [dead.id for dead in page.values]
        if page.after is None:
            break
        page = await queue.dead(after=page.after, limit=2)
    assert listed == [f"job{number}" for number in range(5)]


async def test_two_receivers_never_hold_the_same_job(queues: Pair, clock: ManualClock) -> None:
    await queues[0].send([job(number, clock) for number in range(100)])
    held: list[Delivery] = []

    async def work(queue: Queue) -> None:
        while deliveries := await queue.receive("orders", limit=7):
            held.extend(deliveries)

    await asyncio.gather(*[work(queues[number % 2]) for number in range(6)])
    # One whose jobs were all taken by others may have stopped early; the others had them then.
    held += await queues[0].receive("orders", limit=100)
    assert len(held) == 100
    assert len({delivery.job.id for delivery in held}) == 100


@pytest.mark.parametrize("sender", [0, 1])
async def test_a_waiting_receiver_wakes_when_a_job_is_sent(
    queues: Pair, clock: ManualClock, sender: int
) -> None:
    waiting = asyncio.create_task(queues[0].receive("orders", limit=10, wait_seconds=60))
    await asyncio.sleep(0)
    await queues[sender].send([job(1, clock)])
    async with asyncio.timeout(5):
        assert names(await waiting) == ["job1"]


async def test_a_receiver_waits_no_longer_than_it_said(queue: Queue) -> None:
    async with asyncio.timeout(5):
        assert await queue.receive("orders", limit=10, wait_seconds=0.05) == []


async def test_settling_late_or_twice_is_harmless(
    queues: Pair, clock: ManualClock, passing: Passing
) -> None:
    """A worker that was too slow says what it has to say after another has finished the job."""
    slow, quick = queues
    await slow.send([job(1, clock)])
    late = await received(slow)
    await passing.whole(passing.lease_seconds)
    await quick.done([await received(quick)])
    await slow.retry(late, delay_seconds=0, error="late")
    await slow.bury(late, error="late")
    await slow.done([late, late])
    await passing.whole(passing.lease_seconds)
    assert await quick.receive("orders", limit=10) == []
    assert (await quick.dead()).values == []


async def test_a_late_settlement_leaves_the_job_to_whoever_has_it_now(
    queues: Pair, clock: ManualClock, passing: Passing
) -> None:
    slow, quick = queues
    await slow.send([job(1, clock)])
    late = await received(slow)
    await passing.whole(passing.lease_seconds)
    now = await received(quick)
    await slow.retry(late, delay_seconds=0, error="late")
    assert await slow.receive("orders", limit=10) == []
    await quick.bury(now, error="no")
    await slow.retry(late, delay_seconds=0, error="late")
    assert await slow.receive("orders", limit=10) == []
    assert [dead.error for dead in (await slow.dead()).values] == ["no"]


async def test_depth_counts_what_is_not_finished(
    queue: Queue, clock: ManualClock, queue_engine: QueueEngine
) -> None:
    empty = await queue.depth("orders")
    assert (empty.waiting, empty.oldest_seconds, empty.dead) == (0, 0, 0)
    await queue.send([job(1, clock)])
    clock.advance(seconds=90)
    await queue.send([job(2, clock), job(3, clock), job(4, clock, lane="mail")])
    await queue.bury(await received(queue, "mail"), error="no")
    orders, mail = await queue.depth("orders"), await queue.depth("mail")
    assert (orders.waiting, orders.dead) == (3, 0)
    assert orders.oldest_seconds == (90 if queue_engine.looks else None)
    assert (mail.waiting, mail.dead) == (0, 1)
    await queue.receive("orders", limit=1)
    assert (await queue.depth("orders")).waiting == 3  # one is in hand, not finished
    assert (await queue.depth("orders", limit=2)).waiting == 2
