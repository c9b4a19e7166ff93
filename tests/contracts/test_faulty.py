"""The faulty engines: each fault happens as it is described, at its rate, by its seed, and no other."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Job, Letter, Ports
from ecokart.core.records import ABSENT, OutcomeUnknown, Put
from ecokart.engines.cache_memory import MemoryCache
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.engines.live_memory import MemoryLive
from ecokart.engines.mail_disk import DiskMail
from ecokart.engines.payments_none import NoPayments
from ecokart.engines.queue_records import JOBS, RecordsQueue
from ecokart.engines.records_sqlite import SqliteRecords
from ecokart.engines.targets_http import HttpTargets
from tests.clock import ManualClock
from tests.contracts.records_kept import NOTES, Note, put_new


@pytest.fixture
async def sound(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Ports]:
    records = SqliteRecords(tmp_path / "records", [NOTES, JOBS], clock)
    queue = RecordsQueue(records, clock)
    mail = DiskMail(tmp_path / "mail", "shop@example.com")
    outside = mail, NoPayments(), HttpTargets(clock)
    yield Ports(records, queue, MemoryCache(), MemoryLive(), *outside, clock)
    await records.close()


@pytest.fixture
def chaos() -> Chaos:
    return Chaos(7)


@pytest.fixture
def unsound(sound: Ports, chaos: Chaos) -> Ports:
    return faulty(sound, chaos)


def jobs(ports: Ports, count: int) -> list[Job]:
    event = msgspec.Raw(b"{}")
    now = ports.clock.now()
    return [
        Job(id=f"{number}", lane="orders", handler="h", event=event, sent_at=now)
        for number in range(count)
    ]


async def test_a_commit_that_fails_was_not_applied(unsound: Ports, chaos: Chaos) -> None:
    chaos.faults = Faults(commit_fails=1)
    with pytest.raises(Unavailable) as failure:
        await put_new(unsound.records, NOTES, Note(id="n"))
    assert not isinstance(failure.value, OutcomeUnknown)
    assert await unsound.records.get(NOTES, "n") is None


async def test_a_commit_whose_answer_is_lost_was_applied(unsound: Ports, chaos: Chaos) -> None:
    chaos.faults = Faults(answer_lost=1)
    with pytest.raises(OutcomeUnknown):
        await put_new(unsound.records, NOTES, Note(id="n"))
    assert await unsound.records.get(NOTES, "n") is not None


async def test_every_way_of_reading_can_fail(unsound: Ports, chaos: Chaos) -> None:
    chaos.faults = Faults(read_fails=1)
    reads = [
        unsound.records.get(NOTES, "n"),
        unsound.records.query(NOTES, "oldest", "a"),
        unsound.records.scan(NOTES),
    ]
    outcomes = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3


async def test_faults_can_be_switched_off_again(unsound: Ports, chaos: Chaos) -> None:
    chaos.faults = Faults(commit_fails=1)
    with pytest.raises(Unavailable):
        await put_new(unsound.records, NOTES, Note(id="n"))
    chaos.faults = Faults()
    await put_new(unsound.records, NOTES, Note(id="n"))


async def test_the_same_seed_makes_the_same_choices(sound: Ports) -> None:
    async def outcomes(seed: int, shelf: str) -> list[bool]:
        records = faulty(sound, Chaos(seed, Faults(commit_fails=0.3))).records
        held = []
        for number in range(100):
            put = Put(NOTES, Note(id=f"{shelf}{number}"), ABSENT)
            (outcome,) = await asyncio.gather(records.commit([put]), return_exceptions=True)
            held.append(outcome is None)
        return held

    first = await outcomes(1, "first")
    assert first == await outcomes(1, "again")
    assert first != await outcomes(2, "other")
    assert 50 < sum(first) < 90


async def test_a_delay_is_waited_out(unsound: Ports, chaos: Chaos) -> None:
    chaos.faults = Faults(delay=1, delay_seconds=0.001)
    await put_new(unsound.records, NOTES, Note(id="n"))
    chaos.faults = Faults(delay=1, delay_seconds=3600)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await unsound.records.get(NOTES, "n")


async def test_a_job_can_come_twice_within_the_limit(unsound: Ports, chaos: Chaos) -> None:
    await unsound.queue.send(jobs(unsound, 4))
    chaos.faults = Faults(delivered_twice=1)
    first = await unsound.queue.receive("orders", limit=3)
    chaos.faults = Faults()
    second = await unsound.queue.receive("orders", limit=3)
    third = await unsound.queue.receive("orders", limit=3)
    assert [len(first), len(second), len(third)] == [3, 3, 1]
    assert {one.job.id for one in first} == {one.job.id for one in second}
    assert await unsound.queue.receive("orders", limit=3) == []


async def test_a_job_can_come_late_but_comes(unsound: Ports, chaos: Chaos) -> None:
    await unsound.queue.send(jobs(unsound, 3))
    chaos.faults = Faults(delivered_late=1)
    assert await unsound.queue.receive("orders", limit=10) == []
    chaos.faults = Faults()
    assert len(await unsound.queue.receive("orders", limit=10)) == 3


async def test_jobs_can_come_in_another_order(unsound: Ports, chaos: Chaos) -> None:
    await unsound.queue.send(jobs(unsound, 9))
    chaos.faults = Faults(reordered=1)
    received = [one.job.id for one in await unsound.queue.receive("orders", limit=9)]
    assert received != sorted(received)
    assert sorted(received) == [f"{number}" for number in range(9)]


async def test_a_lost_settlement_brings_the_job_back(
    unsound: Ports, chaos: Chaos, clock: ManualClock
) -> None:
    await unsound.queue.send(jobs(unsound, 3))
    chaos.faults = Faults(settlement_lost=1)
    done, retried, buried = await unsound.queue.receive("orders", limit=3)
    await unsound.queue.done([done])
    await unsound.queue.retry(retried, delay_seconds=0, error="no")
    await unsound.queue.bury(buried, error="no")
    assert await unsound.queue.receive("orders", limit=3) == []
    clock.advance(minutes=5)
    assert len(await unsound.queue.receive("orders", limit=3)) == 3


async def test_a_queue_that_fails_did_nothing(unsound: Ports, chaos: Chaos) -> None:
    chaos.faults = Faults(queue_fails=1)
    with pytest.raises(Unavailable):
        await unsound.queue.send(jobs(unsound, 1))
    chaos.faults = Faults()
    assert (await unsound.queue.depth("orders")).waiting == 0


async def test_refused_mail_was_not_sent(unsound: Ports, chaos: Chaos, tmp_path: Path) -> None:
    chaos.faults = Faults(mail_refused=1)
    with pytest.raises(Unavailable):
        await unsound.mail.send(Letter(to="a@example.com", subject="", text=""), message_id="m")
    assert list((tmp_path / "mail").iterdir()) == []


async def test_a_message_can_fail_and_a_listener_be_cut_off(unsound: Ports, chaos: Chaos) -> None:
    async with unsound.live.subscribe("chat") as messages:
        chaos.faults = Faults(publish_fails=1)
        with pytest.raises(Unavailable):
            await unsound.live.publish("chat", b"never")
        chaos.faults = Faults(listener_cut=1)
        await unsound.live.publish("chat", b"hello")
        assert [message async for message in messages] == []


async def test_the_cache_can_fail_and_forget(unsound: Ports, chaos: Chaos) -> None:
    await unsound.cache.set("key", b"x", ttl_seconds=60)
    chaos.faults = Faults(cache_fails=1)
    with pytest.raises(Unavailable):
        await unsound.cache.get("key")
    chaos.faults = Faults(forgotten=1)
    assert await unsound.cache.get("key") is None


def test_there_is_no_fault_unless_it_is_asked_for() -> None:
    rates = dataclasses.asdict(Faults())
    del rates["delay_seconds"]
    assert set(rates.values()) == {0}
