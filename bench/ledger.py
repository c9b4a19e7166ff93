"""Whether the orders' facts make the orders, and whether the money in them is that of the provider.

The provider's own book is the other side of every payment: what it took, holds and gave back must be
what the order says, at the end to the cent, and while something goes on the provider may only be ahead.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bench.books import OWN_METHODS, Books, Fact
from ecokart.core.log import LogEntry
from ecokart.features.orders.history import rebuilt

Order = dict[str, Any]
Payment = dict[str, Any]

ENDED = ("CANCELLED", "FAILED")
HOLDING = ("OPEN", "WAITING", "AUTHORISED")  # where money is held, or may still come


def forgotten(books: Books) -> list[str]:
    """Sentences for orders that aren't the sum of their facts; at every moment there must be none."""
    wrong = [f"There are facts of {o}, but no order." for o in books.facts if o not in books.orders]
    for order_id, order in books.orders.items():
        facts = books.facts.get(order_id, [])
        if [fact.number for fact in facts] != list(range(1, order["facts"] + 1)):
            numbers = ", ".join(str(fact.number) for fact in facts)
            wrong.append(f"{order_id} has {order['facts']} facts, and the log has {numbers}.")
        elif (again := _rebuilt(facts)) != order:
            other = [name for name in order if again.get(name) != order[name]]
            wrong.append(f"{order_id} is another one by its facts: {', '.join(other)}.")
    return wrong


def _rebuilt(facts: list[Fact]) -> Order:
    entries = [
        LogEntry(
            id=fact.id,
            name=fact.name,
            stream="",
            number=fact.number,
            at=fact.at,
            event=msgspec.Raw(msgspec.json.encode(fact.event)),
            detail=msgspec.Raw(msgspec.json.encode(fact.detail)) if fact.detail else None,
        )
        for fact in facts
    ]
    order: Order = msgspec.json.decode(msgspec.json.encode(rebuilt(entries)))
    return order


def overdrawn(books: Books) -> list[str]:
    """Sentences for money that is in an order and not at the provider, and for more than was asked for."""
    wrong = []
    for order_id, payments in _by_order(books).items():
        if (order := books.orders.get(order_id)) is None:
            wrong.append(f"{order_id} is paid for, and isn't there.")
            continue
        if len(payments) > 1:
            wrong.append(f"{order_id} has {len(payments)} payments at the provider.")
        for payment in payments:
            wrong += [f"{order_id}: {sentence}" for sentence in _overdrawn(order, payment)]
    return wrong


def _overdrawn(order: Order, payment: Payment) -> list[str]:
    captured, refunded = _money(order)
    wrong = []
    if captured > payment["captured"] and not order["payment"]["reversed"]:
        wrong.append(f"{captured} came by the order, {payment['captured']} by the provider.")
    if payment["captured"] > order["total"][0]:
        wrong.append(f"{payment['captured']} was taken, and {order['total'][0]} is the total.")
    if max(refunded, payment["refunded"]) > payment["captured"]:
        wrong.append(f"{refunded} went back, {payment['captured']} had come.")
    asked = {refund["id"]: refund["amount"][0] for refund in order["refunds"]}
    wrong += [
        f"The provider gave {minor} back for {key}, which nobody asked for."
        for key, minor in given_by(payment).items()
        if asked.get(key) != minor
    ]
    return wrong


def given_by(payment: Payment) -> dict[str, int]:
    """What the provider gave back of a payment, by the key under which it was asked to."""
    what = {key: said.split(" ") for key, said in payment["done"].items()}
    return {key: int(said[1]) for key, said in what.items() if said[0] == "refund"}


def unsettled(books: Books) -> list[str]:
    """Sentences for money that isn't where it must be in the end: taken for what is delivered, back for the rest."""
    wrong, payments = [], _by_order(books)
    for order_id, order in books.orders.items():
        if order["steps"][0]["stage"] != "PLACED":
            continue  # paid for elsewhere, long ago
        ones = payments.get(order_id, [])
        wrong += [f"{order_id}: {s}" for s in _unsettled(order)]
        refused = _refused(books.facts.get(order_id, []))
        wrong += [f"{order_id}: {s}" for one in ones for s in _differing(order, one, refused)]
        online = order["payment"]["method"] not in OWN_METHODS
        if online and order["stage"] not in ENDED and not ones:
            wrong.append(f"{order_id} was delivered, and the provider has no payment for it.")
    return wrong


def _unsettled(order: Order) -> list[str]:
    """Within the order itself."""
    captured, refunded = _money(order)
    stage, total = order["stage"], order["total"][0]
    wrong = [
        f"Refund {refund['id']} of {refund['amount'][0]} is open."
        for refund in order["refunds"]
        if not refund["given_at"]
    ]
    if stage in (*ENDED, "REFUNDED") and captured != refunded:
        wrong.append(f"It is {stage}: {captured} came, and {refunded} went back.")
    paid_first = order["payment"]["method"] != "invoice" and not order["payment"]["reversed"]
    if stage == "COMPLETED" and paid_first and captured < total:
        wrong.append(f"It was delivered for {captured}, and {total} is its total.")
    if refunded != sum(r["amount"][0] for r in order["refunds"] if r["given_at"]):
        wrong.append(f"{refunded} went back, which isn't what its refunds add up to.")
    return wrong


def _refused(facts: list[Fact]) -> set[str]:
    """The refunds that the provider wouldn't give."""
    return {fact.event["refund_id"] for fact in facts if fact.name == "refund.failed"}


def _differing(order: Order, payment: Payment, refused: set[str]) -> list[str]:
    """Between the order and the provider's book. Only what the provider refused was given by hand."""
    captured, refunded = _money(order)
    wrong = []
    if payment["state"] in HOLDING:
        wrong.append(f"It is {order['stage']}, and its payment {payment['state']}.")
    if captured != payment["captured"] and not order["payment"]["reversed"]:
        wrong.append(f"{captured} came by the order, {payment['captured']} by the provider.")
    given, was_reversed = given_by(payment), order["payment"]["reversed"]
    by_hand = [
        refund["amount"][0]
        for refund in order["refunds"]
        if refund["given_at"] and refund["id"] not in given
        if refund["id"] in refused or was_reversed
    ]
    if refunded != payment["refunded"] + sum(by_hand):
        wrong.append(f"{refunded} went back by the order, {payment['refunded']} by the provider.")
    return wrong


def _by_order(books: Books) -> dict[str, list[Payment]]:
    found: dict[str, list[Payment]] = {}
    for payment in books.payments:
        found.setdefault(payment["charge"]["order_id"], []).append(_once_settled(payment))
    return found


def _once_settled(payment: Payment) -> Payment:
    """What the bank makes of it: the pretend provider writes that down only when it has to write anyhow."""
    if payment["state"] != "WAITING":
        return payment
    if payment["outcome"] == "bounces":
        return payment | {"state": "FAILED"}
    return payment | {"state": "CAPTURED", "captured": payment["charge"]["amount"][0]}


def _money(order: Order) -> tuple[int, int]:
    """What came for the order and what of it went back, in cents."""
    return order["payment"]["captured"][0], order["payment"]["refunded"][0]
