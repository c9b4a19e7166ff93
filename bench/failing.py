"""A thousand orders a minute by card, of which every twentieth payment fails, at a provider that has faults.

The customers must never see an error: they have ordered, and hear of a failed payment by mail. In the
end the books say whether each order went as its payment did, and whether all money is where it belongs.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from bench import processes
from bench.auditor import auditor
from bench.books import Books, imbalances, unfinished
from bench.crowd import ADDRESS, Customer, crowd
from bench.ledger import forgotten, overdrawn, unsettled
from bench.load import percentile, request
from bench.processes import free_port, settings_of
from bench.stand import Bench, new_key
from bench.steady import Reply, at_rate

PER_SECOND = 1000 / 60
# So many times the seconds of a round: a minute by default.
FAILING_ROUNDS = 20
# Percent of the payments: five fail at the one or the other step, and fifteen succeed with difficulty.
FAILING = {"no_funds": 2, "expired": 1, "refused": 1, "capture_refused": 1}
DIFFICULT = {"answer_lost": 5, "notice_late": 5, "notice_lost": 5}
PAYS = 100 - sum(FAILING.values()) - sum(DIFFICULT.values())
BY_CARD = json.dumps({"address": ADDRESS, "payment": {"method": "card"}}).encode()
SHOWN = 5


async def failing_payments(bench: Bench) -> None:
    """The orders, a look at each when all is done, and the audit."""
    folder = bench.folder / "failing"
    folder.mkdir()
    shares = FAILING | DIFFICULT | {"pays": PAYS}
    url = "scripted:?" + "&".join(f"{outcome}={percent}" for outcome, percent in shares.items())
    shop = processes.shop(folder, free_port(), ECOKART_PAYMENTS_URL=url)
    count = round(PER_SECOND * bench.seconds * FAILING_ROUNDS)
    try:
        async with crowd(folder) as buyers:
            await buyers.stock_up()
            supplied = (await auditor(settings_of(folder, 0)[0]).books()).supplied()
            customers = await buyers.come(buyers.baskets(count, bench.random))
            asked = [_orders(customer) for customer in customers]
            ordered = await at_rate(shop.port, asked, PER_SECOND)
            books = await auditor(settings_of(folder, 0)[0]).quiet()
            looks = [_looks(*pair) for pair in zip(customers, ordered, strict=True)]
            looked = await at_rate(shop.port, looks, PER_SECOND * FAILING_ROUNDS)
    finally:
        shop.stop()
    errors = Counter(r.answer.status for r in [*ordered, *looked] if r.answer.status >= 400)
    wrong = _wrong(books, folder, supplied, count)
    for sentence in wrong[:SHOWN]:
        print(f"    {sentence}")
    ends = Counter(order["stage"] for order in books.orders.values())
    name = "1,000 orders a minute by card"
    bench.note(f"{name}: placed", count, "")
    bench.note_cost(f"{name}: whose payment failed", 100 * ends["FAILED"] / count, "%")
    bench.note_cost(f"{name}: errors that customers saw", errors.total(), "", at_most=0)
    bench.note_cost(f"{name}: not rightly settled", len(wrong), "", at_most=0)
    times = [reply.seconds for reply in ordered]
    bench.note_cost(f"{name}: answered, p99", percentile(times, 99) * 1000, "ms")


def _wrong(books: Books, folder: Path, supplied: dict[str, int], count: int) -> list[str]:
    """Sentences for whatever isn't as it must be when all is done."""
    wrong = [
        *imbalances(books, supplied),
        *forgotten(books),
        *overdrawn(books),
        *unsettled(books),
        *unfinished(books, folder),
        *_other_ends(books),
    ]
    if len(books.orders) != count:
        wrong.append(f"{count} were placed, and there are {len(books.orders)} orders.")
    return wrong


def _other_ends(books: Books) -> list[str]:
    """Sentences for orders that didn't end as their payments went. Who is refused has no payment at all."""
    outcomes = {one["charge"]["order_id"]: one["outcome"] for one in books.payments}
    wrong = []
    for order_id, order in books.orders.items():
        outcome = outcomes.get(order_id, "refused")
        end = "FAILED" if outcome in FAILING else "COMPLETED"
        if order["stage"] != end:
            wrong.append(f"{order_id} is {order['stage']}, and its payment {outcome}.")
    return wrong


def _orders(customer: Customer) -> bytes:
    return request("POST", "/api/orders", BY_CARD, token=customer.token, key=new_key())


def _looks(customer: Customer, ordered: Reply) -> bytes:
    """The customer looks at the order; without one, at the list of them."""
    order_id = json.loads(ordered.answer.body).get("id") if ordered.answer.status == 201 else ""
    path = f"/api/orders/{order_id}" if order_id else "/api/orders"
    return request("GET", path, token=customer.token)
