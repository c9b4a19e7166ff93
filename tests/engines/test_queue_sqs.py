"""What only the queue in SQS has: queues that are made, dead letters that SQS would forget, and its limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from time import perf_counter

import msgspec
import pytest

from ecokart.core.clock import SystemClock
from ecokart.core.errors import TooLarge, Unavailable
from ecokart.core.ports import Delivery, Job
from ecokart.engines.queue_sqs import MAX_RECEIVES, VISIBILITY_SECONDS, SqsQueue
from ecokart.engines.queue_sqs_client import Place, SqsClient
from tests.proxy import Cut, Proxy, through, upstream
from tests.servers import sqs_url

HELD_SECONDS = 5  # how long a test waits for what must come


class Later:
    """The time of day, some days ahead if a test says so: SQS goes by its own clock."""

    def __init__(self) -> None:
        self.days = 0.0

    def now(self) -> datetime:
        return SystemClock().now() + timedelta(days=self.days)


def job(number: int, text: str = "") -> Job:
    event = msgspec.Raw(msgspec.json.encode(text))
    return Job(
        id=f"job{number}", lane="orders", handler="h", event=event, sent_at=SystemClock().now()
    )


@asynccontextmanager
async def opened(url: str, clock: Later | None = None, **options: int) -> AsyncIterator[SqsQueue]:
    queue = SqsQueue(url, clock or Later(), **options)
    try:
        yield queue
    finally:
        await queue.close()


@pytest.fixture
def url() -> str:
    return sqs_url()


@pytest.fixture
def clock() -> Later:
    return Later()


@pytest.fixture
async def queue(url: str, clock: Later) -> AsyncIterator[SqsQueue]:
    async with opened(url, clock) as queue:
        await queue.create(["orders", "mail"], lambda line: None)
        yield queue


@pytest.fixture
async def client(url: str) -> AsyncIterator[SqsClient]:
    """What looks at the queues as they are."""
    client = SqsClient(Place(url))
    yield client
    await client.close()


async def received(queue: SqsQueue) -> Delivery:
    (delivery,) = await queue.receive("orders", limit=10, wait_seconds=HELD_SECONDS)
    return delivery


async def test_queues_are_made_once_and_set_right_afterwards(url: str, client: SqsClient) -> None:
    told: list[str] = []
    name = f"{client.place.prefix}-orders"
    async with opened(url, visibility_seconds=7) as queue:
        await queue.create(["orders"], told.append)
        await queue.send([job(1)])
    async with opened(url) as queue:
        await queue.create(["orders"], told.append)
        assert (await received(queue)).job.id == "job1"
    assert told == [
        f"made queue {name}-dead",
        f"made queue {name}",
        f"queue {name}-dead was there",
        f"queue {name} was there",
    ]
    names = ["VisibilityTimeout", "RedrivePolicy"]
    attributes = (await client.on(name, "get_queue_attributes", AttributeNames=names))["Attributes"]
    assert attributes["VisibilityTimeout"] == str(VISIBILITY_SECONDS) == "90"
    policy = msgspec.json.decode(attributes["RedrivePolicy"])
    assert int(policy["maxReceiveCount"]) == MAX_RECEIVES
    assert policy["deadLetterTargetArn"].endswith(f"{name}-dead")


async def test_a_missing_queue_names_the_command_that_makes_it(url: str) -> None:
    async with opened(url) as queue:
        with pytest.raises(Unavailable, match="ecokart tables create"):
            await queue.send([job(1)])
        with pytest.raises(Unavailable, match="ecokart tables create"):
            await queue.receive("orders", limit=1)
        with pytest.raises(Unavailable, match="ecokart tables create"):
            await queue.ping()
        await queue.create(["orders"], lambda line: None)
        await queue.send([job(1)])
        assert await queue.ping() == "SQS in eu-central-1, 2 queues"


async def test_where_nobody_answers_it_is_unavailable_soon() -> None:
    started = perf_counter()
    async with opened("sqs://eu-central-1/shop?endpoint=http://127.0.0.1:1") as queue:
        with pytest.raises(Unavailable, match="doesn't answer"):
            await queue.receive("orders", limit=1, wait_seconds=1)
    assert perf_counter() - started < 10


@pytest.mark.parametrize("cut", Cut)
async def test_a_cut_connection_loses_no_job(
    url: str, queue: SqsQueue, client: SqsClient, cut: Cut
) -> None:
    async with Proxy(upstream(url)) as proxy, opened(through(proxy, url)) as behind:
        assert await behind.receive("orders", limit=1) == []
        proxy.cut(cut)
        await behind.send([job(1)])
        sent = await queue.receive("orders", limit=10, wait_seconds=HELD_SECONDS)
        assert {one.job.id for one in sent} == {"job1"}  # once or twice
        for message in range(3):  # it is ours, it lies among the dead, it goes
            await client.on(f"{client.place.prefix}-orders", "purge_queue")
            await queue.send([job(message)])
            delivery = await received(queue)
            proxy.cut(cut, after=message)
            await behind.bury(delivery, error="no")
        assert proxy.cuts == 4
    dead = {one.id for one in (await queue.dead()).values}
    assert dead == {f"job{message}" for message in range(3)}


@pytest.mark.parametrize(
    "url", ["sqs://eu-central-1", "sqs:///shop", "sqs://eu/sh/op", "sqs://eu/shop?tls=1"]
)
def test_a_url_that_names_no_queues_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="it "):
        SqsQueue(url, Later())


async def test_a_batch_of_large_jobs_is_sent_in_parts(queue: SqsQueue) -> None:
    await queue.send([job(number, "x" * 100_000) for number in range(5)])
    got = [one for _ in range(5) for one in await queue.receive("orders", limit=2)]
    assert {one.job.id for one in got} == {f"job{number}" for number in range(5)}


async def test_a_job_that_sqs_would_not_take_is_too_large_and_sends_none(queue: SqsQueue) -> None:
    with pytest.raises(TooLarge):
        await queue.send([job(1), job(2, "x" * 262_144)])
    assert (await queue.depth("orders")).waiting == 0


async def test_dead_letters_are_sent_anew_before_sqs_forgets_them(
    queue: SqsQueue, clock: Later, client: SqsClient
) -> None:
    async def message_id() -> str:
        name = f"{client.place.prefix}-orders-dead"
        (letter,) = await client.receive(name, 10, HELD_SECONDS, hide_seconds=0)
        return letter.message_id

    await queue.send([job(1)])
    await queue.bury(await received(queue), error="no")
    (before,) = (await queue.dead()).values
    first = await message_id()
    clock.days = 6
    assert await queue.receive("orders", limit=1) == []
    assert await message_id() == first
    clock.days = 8
    assert await queue.receive("orders", limit=1) == []
    assert await message_id() != first
    assert (await queue.dead()).values == [before]


async def test_a_job_that_sqs_itself_gave_up_is_a_dead_letter_that_can_be_redriven(
    url: str, client: SqsClient
) -> None:
    """By a worker that takes jobs and never says a word about them, not even that it buries them."""
    async with opened(url, visibility_seconds=0) as queue:
        await queue.create(["orders"], lambda line: None)
        await queue.send([job(1)])
        for _ in range(MAX_RECEIVES):
            await received(queue)
        assert await queue.receive("orders", limit=1) == []
        (dead,) = (await queue.dead()).values
        assert dead.id == "job1"
        assert dead.attempts >= MAX_RECEIVES
        assert "never settled" in dead.error
        assert await queue.redrive(["job1"]) == 1
        revived = (await received(queue)).job
        assert (revived.attempts, revived.error) == (0, "")


async def test_a_dead_letter_that_aws_itself_redrives_has_its_attempts_forgotten(
    queue: SqsQueue, client: SqsClient
) -> None:
    lane = f"{client.place.prefix}-orders"
    await queue.send([job(1)])
    await queue.bury(await received(queue), error="no")
    (letter,) = await client.receive(f"{lane}-dead", 10, HELD_SECONDS, hide_seconds=0)
    await client.on(lane, "send_message", MessageBody=letter.body)
    again = (await received(queue)).job
    assert (again.id, again.attempts, again.error) == ("job1", 0, "")


async def test_a_job_that_died_twice_is_one_dead_letter_when_it_is_redriven(
    queue: SqsQueue,
) -> None:
    for _ in range(2):
        await queue.send([job(1)])
        await queue.bury(await received(queue), error="no")
    assert await queue.redrive(["job1"]) == 1
    assert (await queue.dead()).values == []
    assert (await queue.depth("orders")).waiting == 1


async def test_a_shop_with_a_longer_name_keeps_its_dead_letters(url: str, queue: SqsQueue) -> None:
    longer = url.replace("?", "-two?")
    async with opened(longer) as other:
        await other.create(["orders"], lambda line: None)
        await other.send([job(1)])
        await other.bury(await received(other), error="no")
        assert (await queue.dead()).values == []
        assert await queue.redrive(["job1"]) == 0
        assert [dead.id for dead in (await other.dead()).values] == ["job1"]


async def test_what_is_no_job_of_ours_is_in_nobodys_way(queue: SqsQueue, client: SqsClient) -> None:
    for name in ("orders", "orders-dead"):
        queue_name = f"{client.place.prefix}-{name}"
        await client.on(queue_name, "send_message", MessageBody="Hello?")
    await queue.send([job(1)])
    delivery = await received(queue)
    assert delivery.job.id == "job1"
    await queue.bury(delivery, error="no")
    assert [dead.id for dead in (await queue.dead()).values] == ["job1"]


async def test_a_retry_may_wait_for_longer_than_sqs_can_hide(queue: SqsQueue) -> None:
    await queue.send([job(1)])
    await queue.retry(await received(queue), delay_seconds=10**6, error="")
    assert await queue.receive("orders", limit=1) == []
    assert (await queue.depth("orders")).waiting == 1
