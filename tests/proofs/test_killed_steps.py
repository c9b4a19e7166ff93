"""No step of an order's way may be one in which a worker must not die. It dies in each of them."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import signal
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests.proofs import doomed_process
from tests.proofs.doomed_process import Outcome
from tests.webhook_target import WebhookTarget

# At which touches it must have died: facts of every kind, calls of every kind, mails and jobs.
STEPS = {
    *("commit order.placed", "commit payment.begun", "commit order.processing"),
    *("commit order.picked", "commit order.captured", "commit order.shipped"),
    *("commit order.completed", "commit order.cancelled", "commit order.failed"),
    *("commit payment.needed", "commit payment.received", "commit payment.released"),
    *("commit refund.requested", "commit order.refunded", "commit outbox"),
    *("begin", "capture", "cancel", "refund", "post"),
    *("send confirmation", "send paid", "send shipped", "send refunded", "send cancelled"),
    *("send failed", "send orders.pipeline.capture", "done orders.pipeline.capture"),
}
# A process that imports the shop once, and is forked for each life.
LIVES = multiprocessing.get_context("forkserver")
LIVES.set_forkserver_preload([doomed_process.__name__])


class Ended(NamedTuple):
    """How a process ended, and what it has told: its touches, if it lived, and at last what it gives back."""

    code: int | None
    told: list[Any]


async def process(work: Callable[..., Coroutine[Any, Any, Any]], *args: object) -> Ended:
    """Run it in a process of its own, to its end."""
    ours, theirs = LIVES.Pipe(duplex=False)
    running = LIVES.Process(target=_run, args=(work, args, theirs))
    running.start()
    theirs.close()
    told = await asyncio.to_thread(_heard, ours)
    await asyncio.to_thread(running.join)
    return Ended(running.exitcode, told)


def _run(
    work: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], theirs: Connection
) -> None:
    if work is doomed_process.live:
        args = (*args, theirs)
    theirs.send(asyncio.run(work(*args)))


def _heard(ours: Connection) -> list[Any]:
    told = []
    while True:
        try:
            told.append(ours.recv())
        except EOFError:
            return told


@pytest.mark.timeout(240)
async def test_a_worker_may_die_in_any_step(tmp_path: Path) -> None:
    """Nothing is lost and nothing is done twice, wherever the process is killed."""
    wrong: dict[str, list[str]] = {}
    met: set[str] = set()
    async with WebhookTarget() as target:
        beginning = tmp_path / "beginning"
        founded = await process(doomed_process.found, beginning, target.url)
        (partner_id,) = founded.told
        whole = await process(doomed_process.live, _copy(beginning), partner_id, "")
        assert whole.code == 0
        for end in dict.fromkeys(name for names in whole.told[:-1] for name in names):
            if end in met:
                continue  # it has died of a touch that had this name, too
            folder = _copy(beginning)
            died = await process(doomed_process.live, folder, partner_id, end)
            if died.code == 0:
                continue  # a touch that isn't in every life
            assert died.code == -signal.SIGKILL, end
            met |= set(died.told[-1])
            after = await process(doomed_process.finish, folder)
            assert after.code == 0, end
            outcome: Outcome = after.told[0]
            heard = {one.headers["webhook-id"] for one in target.received}
            outcome.wrong += [f"{one} was never told." for one in set(outcome.told) - heard]
            if outcome.wrong:
                wrong[end] = outcome.wrong
            shutil.rmtree(folder)
    assert wrong == {}
    assert met >= STEPS


def _copy(beginning: Path) -> Path:
    """The shop as it was founded, once more."""
    return shutil.copytree(beginning, beginning.with_name(uuid4().hex))
