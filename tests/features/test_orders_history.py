"""An order is the sum of its facts: also for facts that come as they like, and for orders of older shapes."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecokart.core import log
from ecokart.core.events import Event
from ecokart.core.log import LogEntry
from ecokart.core.money import Money
from ecokart.core.payments import PaymentState
from ecokart.features.orders.events import (
    OrderAuthorised,
    OrderCancelled,
    OrderCaptured,
    OrderCompleted,
    OrderFact,
    OrderFailed,
    OrderPicked,
    OrderRefunded,
    OrderShipped,
    PaymentBegun,
    PaymentOverdue,
    PaymentReceived,
    PaymentReleased,
    PaymentReminded,
    PaymentReversed,
    PaymentWaits,
    RefundFailed,
    RefundRequested,
)
from ecokart.features.orders.history import Beginning, evolve, rebuilt
from ecokart.features.orders.model import (
    ENDED,
    ORDERS,
    TRANSITIONS,
    Method,
    Order,
    OrderPayment,
    Stage,
    Status,
    Step,
)
from tests.clock import ManualClock
from tests.features.till import Till

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOTHING = Money(0)
TOTAL = Money(2490)
OLD = {
    "id": "EK-260301-000001",
    "owner": "guest:1",
    "email": "jo@example.com",
    "address": None,
    "lines": [],
    "goods": [2000, "EUR"],
    "shipping": [490, "EUR"],
    "total": [2490, "EUR"],
    "taxes": [],
    "status": "PROCESSING",
    "steps": [
        {"status": "PENDING", "at": "2026-03-01T12:00:00Z"},
        {"status": "PROCESSING", "at": "2026-03-01T12:01:00Z"},
    ],
    "placed_at": "2026-03-01T12:00:00Z",
    "source": "shop",
}


def _placed(method: Method) -> Order:
    return Order(
        id="EK-260302-000000",
        owner="guest:1",
        email="jo@example.com",
        address=None,
        lines=(),
        goods=Money(2000),
        shipping=Money(490),
        total=TOTAL,
        taxes=(),
        steps=(Step(Stage.PLACED, NOON),),
        payment=OrderPayment(method=method, captured=NOTHING, refunded=NOTHING),
        placed_at=NOON,
    )


money = st.integers(0, 3000).map(Money)
moment = st.none() | st.integers(1, 30).map(lambda days: NOON + timedelta(days=days))
refund_id = st.sampled_from(["r1", "r2", "r3"])


def _some(kind: type[OrderFact], **fields: Any) -> st.SearchStrategy[OrderFact]:
    return st.builds(kind, order_id=st.just("EK-260302-000000"), **fields)


facts = st.one_of(
    _some(PaymentBegun, reference=st.just("p1"), url=st.text(max_size=5), pay_by=moment),
    _some(PaymentWaits, look_at=st.just(NOON)),
    _some(OrderAuthorised, captured=st.none() | money),
    _some(OrderPicked),
    _some(OrderCaptured, captured=st.none() | money),
    _some(OrderShipped, carrier=st.text(max_size=5), pay_by=moment),
    _some(OrderCompleted),
    _some(OrderCancelled, reason=st.just("office"), release_by=moment),
    _some(OrderFailed, reason=st.just("step"), release_by=moment),
    _some(PaymentReceived, captured=money),
    _some(PaymentReleased),
    _some(PaymentReminded, reminder=st.integers(1, 3), pay_by=st.just(NOON)),
    _some(PaymentOverdue),
    _some(PaymentReversed, reason=st.text(max_size=5), pay_by=moment),
    _some(
        RefundRequested,
        refund_id=refund_id,
        amount=money,
        reason=st.text(max_size=5),
        restock=st.booleans(),
        replaces=st.just("") | refund_id,
    ),
    _some(OrderRefunded, refund_id=refund_id, amount=money),
    _some(RefundFailed, refund_id=refund_id, reason=st.text(min_size=1, max_size=5)),
)


def _entry(order: Order, number: int, at: datetime, fact: Event | None, detail: Any) -> LogEntry:
    return LogEntry(
        id=f"{number:032x}",
        name=fact.named() if fact else "order.placed",
        stream=f"orders/{order.id}",
        number=number,
        at=at,
        event=msgspec.Raw(msgspec.json.encode(fact) if fact else b"{}"),
        detail=msgspec.Raw(msgspec.json.encode(detail)) if detail else None,
    )


@given(st.sampled_from(Method), st.lists(facts, max_size=25))
def test_whatever_happens_the_facts_alone_make_the_order(
    method: Method, told: list[OrderFact]
) -> None:
    order = _placed(method)
    beginning = Beginning(ORDERS.shape, msgspec.Raw(msgspec.json.encode(order)))
    entries = [_entry(order, 1, NOON, None, beginning)]
    for minute, fact in enumerate(told):
        at = NOON + timedelta(minutes=minute)
        before = order.stage
        try:
            order = evolve(order, fact, at)
        except ValueError:
            continue  # no order goes that way
        entries.append(_entry(order, order.facts, at, fact, None))
        assert order.stage is before or order.stage in TRANSITIONS[before]
        assert order.facts == len(entries)
        assert order.refundable >= NOTHING
    assert rebuilt(entries) == order
    body = ORDERS.row(order).body
    assert ORDERS.load(ORDERS.shape, body) == order


@given(st.sampled_from(sorted(ENDED)), st.lists(facts, max_size=10))
def test_what_has_ended_stays_so(stage: Stage, told: list[OrderFact]) -> None:
    order = msgspec.structs.replace(_placed(Method.CARD), stage=stage)
    for fact in told:
        try:
            order = evolve(order, fact, NOON)
        except ValueError:
            continue
    assert order.stage is stage


def test_what_else_the_log_tells_of_an_order_makes_no_difference() -> None:
    order = _placed(Method.INVOICE)
    beginning = Beginning(ORDERS.shape, msgspec.Raw(msgspec.json.encode(order)))
    aside = _entry(order, 0, NOON, OrderPicked(order_id=order.id), None)
    assert rebuilt([aside, _entry(order, 1, NOON, None, beginning)]) == order


def test_without_its_first_fact_an_order_cannot_be_rebuilt() -> None:
    order = _placed(Method.INVOICE)
    with pytest.raises(ValueError, match="first fact"):
        rebuilt([_entry(order, 2, NOON, OrderPicked(order_id=order.id), None)])
    with pytest.raises(ValueError, match="first fact"):
        rebuilt([])


# Orders of earlier releases.


@pytest.mark.parametrize(
    ("status", "stage"),
    [
        ("PENDING", Stage.PLACED),
        ("PROCESSING", Stage.AUTHORISED),
        ("COMPLETED", Stage.COMPLETED),
        ("CANCELLED", Stage.CANCELLED),
    ],
)
@pytest.mark.parametrize("shape", [1, 2])
def test_older_shapes_are_read(shape: int, status: str, stage: Stage) -> None:
    owner = "" if shape == 1 else None
    body = msgspec.json.encode(OLD | {"owner": owner, "status": status})
    order = ORDERS.load_body(shape, body)
    assert (order.stage, order.status, order.owner) == (stage, Status(status), None)
    assert order.steps[1].stage is Stage.AUTHORISED
    assert (order.payment.method, order.payment.captured) == (Method.INVOICE, NOTHING)
    assert order.restocked is (status == "CANCELLED")


def test_an_order_of_elsewhere_was_paid_there() -> None:
    body = msgspec.json.encode(OLD | {"status": "COMPLETED", "source": "invoices"})
    order = ORDERS.load_body(2, body)
    assert (order.payment.state, order.payment.captured) == (PaymentState.CAPTURED, TOTAL)


async def test_a_shop_of_the_release_before_opens_and_finishes_its_orders(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Its table had `status` where there is `stage`; an order was being worked on when it was closed."""
    body = _old_shop(tmp_path, "PROCESSING")
    till = Till(tmp_path, clock)
    await till.open()
    order = ORDERS.load_body(2, body)
    await till.work()
    assert (await till.order(order)).stage is Stage.COMPLETED
    assert await till.facts(order) == [
        "order.picked",
        "order.captured",
        "order.shipped",
        "order.completed",
    ]
    await till.ports.close()


async def test_what_waited_in_the_outbox_of_the_release_before_is_handed_on(
    tmp_path: Path, clock: ManualClock
) -> None:
    """There each event had an entry of its own, and said less."""
    body = _old_shop(tmp_path, "PENDING")
    event = {"id": "0" * 32, "name": "order.placed", "at": clock.now(), "cause": "a request"}
    entry = {**event, "event": {**event, "order_id": OLD["id"]}}
    del entry["cause"]
    with sqlite3.connect(tmp_path / "ecokart.db") as old:
        old.execute(
            "CREATE TABLE outbox (key TEXT PRIMARY KEY, version INTEGER NOT NULL,"
            " shape INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID"
        )
        old.execute(
            "INSERT INTO outbox VALUES (?, 1, 1, ?)", (event["id"], msgspec.json.encode(entry))
        )
    old.close()
    till = Till(tmp_path, clock)
    await till.open()
    order = ORDERS.load_body(2, body)
    assert order.stage is Stage.PLACED
    await till.work()
    assert (await till.order(order)).stage is Stage.COMPLETED
    told = await log.stream(till.ports.records, f"orders/{order.id}")
    assert [(fact.number, fact.name) for fact in told][:2] == [
        (1, "order.processing"),
        (2, "order.picked"),
    ]
    assert b'"cause":"a request"' in bytes(told[0].event)
    assert (tmp_path / "mail" / f"{event['id']}.confirmation.eml").exists()
    await till.ports.close()


def _old_shop(folder: Path, status: str) -> bytes:
    """The database of the release before, with one order; gives its record."""
    body = msgspec.json.encode(OLD | {"status": status})
    with sqlite3.connect(folder / "ecokart.db") as old:
        old.execute(
            "CREATE TABLE orders (key TEXT PRIMARY KEY, version INTEGER NOT NULL, shape INTEGER NOT NULL,"
            " body BLOB NOT NULL, owner TEXT, status TEXT, placed_at INTEGER) WITHOUT ROWID"
        )
        old.execute("CREATE INDEX orders_by_status ON orders (status, placed_at, key)")
        row = (OLD["id"], body, status)
        old.execute("INSERT INTO orders VALUES (?, 1, 2, ?, 'guest:1', ?, 0)", row)
    old.close()
    return body
