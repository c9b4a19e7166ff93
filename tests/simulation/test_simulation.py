"""Two hundred stories of shoppers over failing engines, and proof that a broken shop is found out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from ecokart.core.ports import Letter
from ecokart.core.records import Adjust
from ecokart.core.transaction import Transaction
from ecokart.engines.mail_disk import DiskMail
from ecokart.engines.records_sqlite import SqliteRecords
from ecokart.features.catalog import service as catalog
from ecokart.features.orders import pipeline
from ecokart.features.orders.model import ORDERS, Order, Stage
from tests.simulation import shoppers
from tests.simulation.run import again, simulate

STORIES, PART = 200, 25


@pytest.mark.parametrize("first", range(1, STORIES, PART))
def test_every_story_ends_well(first: int) -> None:
    stories = [simulate(seed) for seed in range(first, first + PART)]
    assert {again(story.seed): story.wrong for story in stories if story.wrong} == {}
    # Something happened in them: people bought and called off, answers were lost, processes died.
    assert sum(len(story.acknowledged) for story in stories) > PART
    assert any(story.cancelled for story in stories)
    assert sum(story.lost_answers for story in stories) > PART
    assert sum(story.kills for story in stories) > PART


def test_the_same_seed_tells_the_same_story() -> None:
    one, other = simulate(7), simulate(7)
    assert one.happened == other.happened
    assert list(one.acknowledged) == list(other.acknowledged)
    assert (one.kills, one.lost_answers) == (other.kills, other.lost_answers)


def _nothing(*args: Any, **named: Any) -> None:
    """What was to be done here is left out."""


def _without_reservations(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(catalog, "reserve", _nothing)


def _without_restocking(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(catalog, "restock", _nothing)


def _without_marks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shoppers, "remember", _nothing)


def _without_events(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "emit", _nothing)


def _with_half_commits(patch: pytest.MonkeyPatch) -> None:
    """Orders are stored without their stock movements."""
    whole = SqliteRecords.commit

    async def half(self: SqliteRecords, writes: Any) -> None:
        if any(write.table is ORDERS for write in writes):
            writes = [write for write in writes if type(write) is not Adjust]
        await whole(self, writes)

    patch.setattr(SqliteRecords, "commit", half)


def _with_blind_steps(patch: pytest.MonkeyPatch) -> None:
    """A step of the pipeline that doesn't look whether it was made already."""

    async def blind(tx: Transaction, order_id: str, stage: Stage) -> Order:
        order = await tx.get(ORDERS, order_id)
        assert order
        return order

    patch.setattr(pipeline, "_in", blind)
    patch.setattr(Order, "allows", lambda order, stage: True)


def _with_nameless_mails(patch: pytest.MonkeyPatch) -> None:
    """A mail engine that can't tell that it sent this before."""
    send, number = DiskMail.send, count()

    async def nameless(self: DiskMail, letter: Letter, *, message_id: str) -> None:
        await send(self, letter, message_id=f"{message_id}.{next(number)}")

    patch.setattr(DiskMail, "send", nameless)


@pytest.mark.parametrize(
    ("sabotage", "finding"),
    [
        (_without_reservations, "are reserved, and carts hold"),
        (_without_restocking, "were supplied"),
        (_without_marks, "made two orders"),
        (_without_events, "went PLACED."),
        (_with_half_commits, "were supplied"),
        (_with_blind_steps, "COMPLETED → AUTHORISED"),
        (_with_nameless_mails, "was confirmed 2 times"),
    ],
)
def test_a_broken_shop_is_found_out(
    sabotage: Callable[[pytest.MonkeyPatch], None], finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    findings: list[str] = []
    for seed in range(1, PART):
        findings += simulate(seed).wrong
        if any(finding in sentence for sentence in findings):
            return
    pytest.fail(f"{PART} stories, and only this was found: {findings}")
