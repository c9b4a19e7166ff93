"""What an order costs the records, all the way to COMPLETED: counted, and fixed here.

Endpoints have their budget in `test_api_budget`; this is the way behind them, where most of an order happens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.cost import Cost, costs

# The outbox and the jobs are what handing on costs: two mails, and for a card the provider's calls and notices.
HANDED_ON = {"put outbox": 2, "delete outbox": 2, "put jobs": 4, "delete jobs": 2}
STORED = {"put orders": 2, "put log": 2, "put idempotency": 1, "adjust stock": 2}
HANDED_ON_BY_CARD = {"put outbox": 6, "delete outbox": 6, "put jobs": 14, "delete jobs": 7}
STORED_BY_CARD = STORED | {"put orders": 3, "put log": 3, "put payment_inbox": 2}
CART = {"delete carts": 1}

CALLS = {
    "an order on invoice": {"get": 4, "commit": 8},
    "an order by card": {"get": 10, "commit": 26},
    # The queries ask who of the partner's programs wants to hear.
    "a partner's order": {"get": 6, "query": 4, "commit": 8},
}
WRITES = {
    "an order on invoice": STORED | CART | HANDED_ON,
    "an order by card": STORED_BY_CARD | CART | HANDED_ON_BY_CARD,
    "a partner's order": STORED | HANDED_ON,
}
MOST_BYTES = {
    "an order on invoice": 11_500,
    "an order by card": 21_500,
    "a partner's order": 11_500,
}


async def test_an_order_costs_no_more_than_is_written_here(tmp_path: Path) -> None:
    found = await costs(tmp_path)
    assert _of(found, "calls") == CALLS
    assert _of(found, "writes") == WRITES
    assert {n: c.bytes for n, c in found.items() if c.bytes > MOST_BYTES[n]} == {}


def _of(found: dict[str, Cost], part: str) -> dict[str, Any]:
    return {name: dict(getattr(cost, part)) for name, cost in found.items()}
