"""What must be true of the world, at every moment and at a story's end."""

from __future__ import annotations

from datetime import timedelta

from bench.books import Books, imbalances, unfinished
from bench.ledger import forgotten, overdrawn, unsettled
from ecokart.core.events import Reactions
from ecokart.core.worker import Worker
from ecokart.engines.faulty import Faults
from ecokart.features.webhooks import deliveries
from ecokart.rooms import JOB_MODULES
from tests.simulation.office import tidy_up
from tests.simulation.partners import PartnersServer
from tests.simulation.world import TOLD, World

# At first jobs and payments are due again, then reminders, for some weeks.
MINUTES = [6] * 8 + [20 * 60] * 32
PATIENCE = timedelta(days=30)
# Of what an order may await: what comes to an end by itself.
WAITING = ("payment", "bank", "prepayment", "release")


def audit(world: World) -> Books:
    """The books must balance at every moment."""
    books = world.books()
    world.story.blame(imbalances(books, world.supplied) + forgotten(books) + overdrawn(books))
    return books


async def settle(world: World, server: PartnersServer) -> None:
    """Without faults from here on: everything is finished, and then all of it is checked."""
    await world.life.end()
    world.chaos.faults, server.well = Faults(), True
    worker, queue = Worker(world.outside, Reactions(JOB_MODULES)), world.outside.queue
    for minutes in MINUTES:
        world.clock.jump(minutes=minutes)
        await worker.run_due_timers()
        await worker.drain()
        dead = (await queue.dead()).values
        world.story.dead_letters += len(dead)
        world.story.blame([f"{job.id} died without a word." for job in dead if not job.error])
        await queue.redrive([job.id for job in dead])
        await tidy_up(world.outside)
        books = audit(world)
        if not waits(books) and not await _to_be_told(world):
            break
    world.story.ends.update(order["stage"] for order in books.orders.values())
    world.story.blame(unfinished(books, world.folder) + unsettled(books))
    world.story.blame(_broken_promises(world, books) + _untold(world, books, server))
    await world.outside.records.close()


def waits(books: Books) -> bool:
    """Whether anything goes on by itself, or is the office's to finish."""
    return bool(books.waiting) or any(
        order["awaits"] in WAITING or order["refunding"] for order in books.orders.values()
    )


async def _to_be_told(world: World) -> list[str]:
    """The messages that wait for their time, however long that is."""
    return await deliveries.due(world.outside.records, world.clock.now() + PATIENCE)


def _broken_promises(world: World, books: Books) -> list[str]:
    story, orders = world.story, books.orders
    promised = list(story.acknowledged.values())
    wrong = [f"{order_id} was acknowledged and is lost." for order_id in {*promised} - {*orders}]
    wrong += [f"{order_id} was never asked for." for order_id in {*orders} - {*promised}]
    if len(set(promised)) < len(promised):
        wrong.append("Two keys were answered the same order.")
    wrong += [
        f"{order_id} was called off, and is {orders[order_id]['stage']}."
        for order_id in story.cancelled & {*orders}
        if orders[order_id]["stage"] != "CANCELLED"
    ]
    wrong += [
        f"{minor} were to go back for {order_id}, and didn't."
        for reason, (order_id, minor) in story.refunds.items()
        if [minor] != _given(books, order_id, reason)
    ]
    return wrong + _lost_transfers(world, books)


def _given(books: Books, order_id: str, reason: str) -> list[int]:
    refunds = books.orders[order_id]["refunds"]
    return [r["amount"][0] for r in refunds if r["reason"] == reason and r["given_at"]]


def _lost_transfers(world: World, books: Books) -> list[str]:
    """What came by transfer is in the order that it was for."""
    wrong, noted = [], world.story.transfers
    for order_id, order in books.orders.items():
        if order["payment"]["method"] not in ("invoice", "prepayment"):
            continue
        captured, sure = order["payment"]["captured"][0], noted.sure[order_id]
        if not sure <= captured <= sure + noted.perhaps[order_id]:
            wrong.append(f"{order_id} was paid {sure} by transfer, and has {captured}.")
    return wrong


def _untold(world: World, books: Books, server: PartnersServer) -> list[str]:
    """The partner was told every fact it subscribed to, at least once, and always the same."""
    wrong = [
        f"{message} was told in {len(set(bodies))} ways."
        for message, bodies in server.heard.items()
        if len(set(bodies)) > 1
    ]
    for order_id, facts in books.facts.items():
        if books.orders[order_id]["partner_id"] != world.endpoint.partner_id:
            continue
        wrong += [
            f"{order_id}: the partner never heard of {fact.name}."
            for fact in facts
            if fact.name in TOLD and f"msg_{fact.id}_{world.endpoint.id}" not in server.heard
        ]
    return wrong
