"""Commands and queries of the inbox. What happens to the rooms themselves is the chat's."""

from __future__ import annotations

from typing import NamedTuple

from ecokart.core.ports import Ports, Records
from ecokart.core.transaction import Transaction, transact
from ecokart.features.accounts import service as accounts
from ecokart.features.accounts.model import SessionEnded
from ecokart.features.cart import service as cart
from ecokart.features.cart.model import Cart
from ecokart.features.chat import service as chat
from ecokart.features.chat.model import Entry, Person, Room
from ecokart.features.inbox.model import (
    AGENTS,
    ANSWERS,
    MOST_ANSWERS,
    SEEN_AGAIN,
    STAFF_FOR,
    Agent,
    Answer,
    NewAnswer,
    NoSuchAgent,
    NoSuchAnswer,
    TooManyAnswers,
)
from ecokart.features.orders import service as orders
from ecokart.features.orders.model import NoSuchOrder, Order

ENTRIES_SHOWN = 100
ORDERS_SHOWN = 5


class Shopper(NamedTuple):
    """Who writes, as far as the shop knows: name and address of an account, basket, orders.

    `named` is the order from whose page they wrote, if it is theirs.
    """

    name: str
    email: str
    cart: Cart
    orders: list[Order]
    named: Order | None


class Said(NamedTuple):
    """An entry of a conversation, or a note of the staff beside it."""

    entry: Entry
    note: bool


async def seen(tx: Transaction, person: Person) -> None:
    """Somebody of the staff looks at the inbox: conversations may be handed to them."""
    known = await tx.get(AGENTS, person.id)
    if known is None or known.name != person.name or tx.now - known.seen_at > SEEN_AGAIN:
        tx.overwrite(AGENTS, Agent(id=person.id, name=person.name, seen_at=tx.now))


async def agents(ports: Ports) -> list[Agent]:
    """Those to whom a conversation can be given, by name."""
    known = (await ports.records.query(AGENTS, "by_name", "inbox")).values
    since = ports.clock.now() - STAFF_FOR
    return [agent for agent in known if agent.seen_at > since]


async def agent(records: Records, agent_id: str) -> Agent:
    """Raises `NoSuchAgent`."""
    found = await records.get(AGENTS, agent_id)
    if found is None:
        raise NoSuchAgent
    return found.value


async def answers(records: Records) -> list[Answer]:
    """All answers, by title."""
    return (await records.query(ANSWERS, "by_title", "inbox", limit=MOST_ANSWERS)).values


async def answer(records: Records, answer_id: str) -> Answer:
    """Raises `NoSuchAnswer`."""
    found = await records.get(ANSWERS, answer_id)
    if found is None:
        raise NoSuchAnswer
    return found.value


async def add_answer(tx: Transaction, new: NewAnswer) -> Answer:
    """Raises `TooManyAnswers`."""
    known = await tx.query(ANSWERS, "by_title", "inbox", limit=MOST_ANSWERS)
    if len(known.values) >= MOST_ANSWERS:
        raise TooManyAnswers
    added = Answer(id=tx.new_id(), title=new.title, text=new.text)
    tx.add(ANSWERS, added)
    return added


async def remove_answer(tx: Transaction, answer_id: str) -> None:
    """Raises `NoSuchAnswer`."""
    if await tx.get(ANSWERS, answer_id) is None:
        raise NoSuchAnswer
    tx.delete(ANSWERS, answer_id)


async def said(records: Records, room: Room, notes: Room) -> list[Said]:
    """The newest entries of a conversation and the newest notes about it, by time."""
    entries = [Said(entry, note=False) for entry in await _newest(records, room)]
    noted = [Said(entry, note=True) for entry in await _newest(records, notes)]
    return sorted(entries + noted, key=lambda one: (one.entry.at, one.entry.sequence))


async def shopper(ports: Ports, room: Room) -> Shopper:
    """Who writes in a support room."""
    owner, records = room.shopper, ports.records
    name = email = ""
    if owner and not owner.startswith("guest:"):
        try:
            customer = await transact(ports, accounts.customer, owner)
        except SessionEnded:
            pass  # the account is gone, what was said is not
        else:
            name, email = customer.name, customer.email
    theirs = (await orders.mine(records, owner, limit=ORDERS_SHOWN)).values if owner else []
    named = None
    if room.context.order_id:
        try:
            named = await orders.one(records, owner, room.context.order_id)
        except NoSuchOrder:
            named = None  # they named an order of somebody else
    held = await cart.look(records, owner or None, ports.clock.now())
    return Shopper(name, email, held, theirs, named)


async def _newest(records: Records, room: Room) -> list[Entry]:
    after = max(0, room.last - ENTRIES_SHOWN)
    return await chat.entries(records, room.id, after=after, upto=room.last)
