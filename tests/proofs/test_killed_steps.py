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
        ends = await _first_touches(shutil.copytree(beginning, tmp_path / "whole"), partner_id)
        for number, end in enumerate(ends):
            folder = shutil.copytree(beginning, tmp_path / str(number))
            died = await process(doomed_process.live, folder, partner_id, end)
            assert died.code == -signal.SIGKILL, end
            met |= set(died.told[-1])
            outcome: Outcome = (await process(doomed_process.finish, folder)).told[0]
            heard = {one.headers["webhook-id"] for one in target.received}
            outcome.wrong += [f"{one} was never told." for one in set(outcome.told) - heard]
            if outcome.wrong:
                wrong[end] = outcome.wrong
            shutil.rmtree(folder)
    assert wrong == {}
    assert met >= STEPS


async def _first_touches(folder: Path, partner_id: str) -> list[str]:
    """A name for each touch of a whole life that is the first of its kind."""
    whole = await process(doomed_process.live, folder, partner_id, "")
    assert whole.code == 0
    met: set[str] = set()
    ends = []
    for names in whole.told[:-1]:
        if new := [name for name in names if name not in met]:
            ends.append(new[0])
            met |= set(names)
    return ends
