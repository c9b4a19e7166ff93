"""An order in every state that a buyer hears of, and the mail about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from ecokart.core.i18n import Text
from ecokart.core.money import Money
from ecokart.core.payments import PaymentState
from ecokart.core.ports import Letter
from ecokart.core.terms import Bank, Terms
from ecokart.features.accounts.model import Address
from ecokart.features.catalog.model import TaxClass
from ecokart.features.orders import mails
from ecokart.features.orders.events import (
    OrderCancelled,
    OrderFailed,
    OrderPlaced,
    OrderRefunded,
    OrderShipped,
    PaymentReceived,
    PaymentReminded,
    PaymentReversed,
    PaymentSecured,
)
from ecokart.features.orders.model import (
    Awaited,
    Method,
    Order,
    OrderLine,
    OrderPayment,
    Reason,
    Stage,
    Step,
)
from ecokart.features.orders.taxes import TaxLine

NUMBER = "EK-260302-7K3MQ9"
NOON = datetime(2026, 3, 2, 11, 0, tzinfo=UTC)
DUE = NOON + timedelta(days=7)
TERMS = Terms(
    public_url="https://shop.example",
    shop_owner="Ecokart GmbH, Marktplatz 1, 34117 Kassel, HRB 1234",
    contact_email="shop@shop.example",
    bank=Bank(holder="Ecokart GmbH", iban="DE02120300000000202051", bic="BYLADEM1001"),
)
BOARD = OrderLine(
    sku="EK-001",
    product_id="prod-001",
    name=Text("Schneidebrett aus Eiche, geölt", "Oiled oak <cutting> board"),
    picture="prod-001.svg",
    price=Money(4290),
    tax=TaxClass.STANDARD,
    quantity=2,
)
TEA = OrderLine(
    sku="EK-002",
    product_id="prod-002",
    name=Text("Grüner Tee", "Green tea"),
    picture="prod-002.svg",
    price=Money(890),
    tax=TaxClass.REDUCED,
    quantity=1,
)


def order(method: Method = Method.INVOICE, language: str = "de", *, captured: int = 0) -> Order:
    """Two boards and a tea for Jörg, so far only placed."""
    nothing = Money(0)
    return Order(
        id=NUMBER,
        owner="guest:g",
        email="joerg@example.com",
        language=language,
        address=Address(
            name="Jörg Müller",
            street="Lange Straße 5",
            postal_code="34117",
            city="Kassel",
            country="DE",
            company="Müller & Söhne",
        ),
        lines=(BOARD, TEA),
        goods=Money(9470),
        shipping=Money(490),
        total=Money(9960),
        taxes=(
            TaxLine(Decimal(19), Money(9024), Money(1441)),
            TaxLine(Decimal(7), Money(936), Money(61)),
        ),
        steps=(Step(Stage.PLACED, NOON),),
        payment=OrderPayment(
            method=method,
            captured=Money(captured),
            refunded=nothing,
            state=PaymentState.CAPTURED if captured else PaymentState.OPEN,
            url="https://pay.example/p/1" if method.online else "",
        ),
        awaits=Awaited.PREPAYMENT if method is Method.PREPAYMENT else None,
        due_at=DUE if method is Method.PREPAYMENT else None,
        placed_at=NOON,
    )


def all_letters(language: str) -> dict[str, Letter]:
    """Every mail there is, by what it is about."""
    invoice, card = order(language=language), order(Method.CARD, language)
    prepaid = order(Method.PREPAYMENT, language)
    paid_by_card = order(Method.CARD, language, captured=9960)
    ended = replace(prepaid, stage=Stage.CANCELLED, awaits=None)
    ids: dict[str, Any] = {"order_id": NUMBER}
    placed = OrderPlaced(**ids)
    parcel: dict[str, Any] = {
        "carrier": "DHL",
        "tracking": "0034 0434",
        "url": "https://parcel.example/0034",
    }
    told = {
        "confirmed, invoice": mails.confirmation(invoice, TERMS, placed),
        "confirmed, in advance": mails.confirmation(prepaid, TERMS, placed),
        "confirmed, by card": mails.confirmation(card, TERMS, placed),
        "paid by card": mails.paid(paid_by_card, TERMS, PaymentSecured(**ids)),
        "received": mails.received(
            order(Method.PREPAYMENT, language, captured=9960),
            TERMS,
            PaymentReceived(**ids, captured=Money(9960)),
        ),
        "received in part": mails.received(
            order(Method.PREPAYMENT, language, captured=5000),
            TERMS,
            PaymentReceived(**ids, captured=Money(5000)),
        ),
        "received too late": mails.received(
            ended, TERMS, PaymentReceived(**ids, captured=Money(9960))
        ),
        "reminded": mails.reminder(prepaid, TERMS, PaymentReminded(**ids, reminder=1, pay_by=DUE)),
        "reminded for the last time": mails.reminder(
            prepaid, TERMS, PaymentReminded(**ids, reminder=3, pay_by=DUE)
        ),
        "taken back by the bank": mails.reversal(
            order(Method.SEPA, language), TERMS, PaymentReversed(**ids, reason="x", pay_by=DUE)
        ),
        "shipped, with an invoice": mails.shipped(
            invoice, TERMS, OrderShipped(**ids, **parcel, pay_by=DUE)
        ),
        "shipped": mails.shipped(paid_by_card, TERMS, OrderShipped(**ids)),
        "refunded by card": mails.refunded(
            paid_by_card, TERMS, OrderRefunded(**ids, refund_id="r", amount=Money(1000))
        ),
        "refunded by transfer": mails.refunded(
            prepaid, TERMS, OrderRefunded(**ids, refund_id="r", amount=Money(1000))
        ),
        "failed": mails.failed(card, TERMS, OrderFailed(**ids, reason=Reason.REFUSED, note="x")),
        "failed by us": mails.failed(invoice, TERMS, OrderFailed(**ids, reason=Reason.STEP)),
    }
    told |= {
        f"cancelled, {reason}": mails.cancelled(
            paid_by_card if reason is Reason.OFFICE else card,
            TERMS,
            OrderCancelled(**ids, reason=reason, note="Es tut uns leid."),
        )
        for reason in (Reason.CUSTOMER, Reason.OFFICE, Reason.UNPAID, Reason.PROVIDER_AWAY)
    }
    return {name: letter for name, letter in told.items() if letter}
