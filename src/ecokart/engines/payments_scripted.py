"""A pretend provider of payments, for trying things out: its money is none.

It keeps its payments in a table of its own, durably, as a provider does. How a payment goes is chosen
on its payment page, or without a browser by the buyer's address (`demo+no_funds@example.com`), or by
shares of the orders (`scripted:?pays=95&no_funds=5`); see `Outcome`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec.structs import replace

from ecokart.core.clock import Clock
from ecokart.core.errors import Forbidden, NotFound, Unavailable
from ecokart.core.money import Money
from ecokart.core.payments import Charge, Notice, Payment, PaymentRefused
from ecokart.core.ports import Records
from ecokart.core.records import ABSENT, ANY, Delete, Put, WriteConflict
from ecokart.core.rehearsal import Outcome, Rehearsal, Scene, SignedNotice
from ecokart.engines.payments_scripted_book import (
    PRETEND_NOTICES,
    PRETEND_PAYMENTS,
    PretendPayment,
    notices_of,
)

METHODS = ("card", "paypal", "klarna", "sepa", "twint")
SIGNATURE = "pretend-signature"
TOLERANCE = timedelta(minutes=5)
ATTEMPTS = 12

Change = Callable[[PretendPayment], PretendPayment]


class ScriptedPayments:
    """`Payments` and its `Rehearsal`. Raises `ValueError` for a URL with an outcome that there isn't."""

    def __init__(
        self, url: str, records: Records, clock: Clock, *, public_url: str, secret: str
    ) -> None:
        self._records, self._clock, self._public_url = records, clock, public_url
        self._secret = f"pretend notices {secret}".encode()
        self._shares = _shares(url)

    @property
    def methods(self) -> tuple[str, ...]:
        return METHODS

    @property
    def rehearsal(self) -> Rehearsal | None:
        return self

    # The shop's side.

    async def begin(self, charge: Charge, *, key: str) -> Payment:
        if charge.method not in METHODS or charge.amount.minor <= 0:
            raise PaymentRefused(f"{charge.amount.amount} can't be paid by {charge.method}.")
        reference = f"test_{hashlib.blake2b(key.encode(), digest_size=12).hexdigest()}"
        begun, now = PretendPayment(reference=reference, charge=charge), self._clock.now()
        after = begun
        if (outcome := self._outcome(charge)) is not None:
            if outcome is Outcome.REFUSED:
                raise PaymentRefused("do_not_honor")
            after = begun.pay(outcome, now).give_up()
        try:
            await self._commit(begun, after, ABSENT)
        except WriteConflict:
            found = await self._get(reference)
            if found.charge != charge:
                raise PaymentRefused("This key was used for another payment.") from None
            return self._seen(found)
        return self._answer(after)

    async def look(self, reference: str) -> Payment:
        return self._seen(await self._get(reference))

    async def capture(self, reference: str, amount: Money, *, key: str) -> Payment:
        what = f"capture {amount.minor}"
        return await self._once(reference, key, what, lambda payment: payment.capture(amount))

    async def cancel(self, reference: str, *, key: str) -> Payment:
        return await self._once(reference, key, "cancel", lambda payment: payment.cancel())

    async def refund(self, reference: str, amount: Money, *, key: str) -> Payment:
        what = f"refund {amount.minor}"
        return await self._once(reference, key, what, lambda payment: payment.refund(amount))

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice | None:
        given = dict(parse_qsl(headers.get(SIGNATURE, "").replace(",", "&")))
        at = given.get("t", "")
        if not hmac.compare_digest(given.get("v1", "").encode(), self._signature(at, body)):
            raise Forbidden("The signature is not the provider's.")
        if abs(self._clock.now().timestamp() - int(at)) > TOLERANCE.total_seconds():
            raise Forbidden("The signature is too old.")
        return msgspec.json.decode(body, type=Notice)

    async def ping(self) -> str:
        return f"pretend provider in the records ({await self._records.ping()})"

    async def close(self) -> None:
        """The records are closed by whoever opened them."""

    # The shopper's side.

    async def scene(self, reference: str) -> Scene:
        return self._scene(await self._get(reference))

    async def choose(self, reference: str, outcome: Outcome) -> Scene:
        now = self._clock.now()
        return self._scene(await self._change(reference, lambda payment: payment.pay(outcome, now)))

    async def confirm(self, reference: str, *, agreed: bool) -> Scene:
        return self._scene(
            await self._change(reference, lambda payment: payment.answer(agreed=agreed))
        )

    async def notices(self, *, limit: int = 20) -> list[SignedNotice]:
        now = self._clock.now()
        page = await self._records.query(PRETEND_NOTICES, "due", "shop", limit=limit)
        signed = []
        for waiting in page.values:
            if waiting.due_at > now:
                break
            notice = Notice(
                id=waiting.notice_id,
                reference=waiting.reference,
                order_id=waiting.order_id,
                kind=waiting.kind,
            )
            body, at = msgspec.json.encode(notice), str(int(now.timestamp()))
            headers = {SIGNATURE: f"t={at},v1={self._signature(at, body).decode()}"}
            signed.append(SignedNotice(waiting.id, headers, body))
        return signed

    async def delivered(self, notice_id: str) -> None:
        with suppress(WriteConflict):
            await self._records.commit([Delete(PRETEND_NOTICES, notice_id, ANY)])

    # What both do to the book.

    async def _once(self, reference: str, key: str, what: str, change: Change) -> Payment:
        """Make the change unless this key has made it."""
        repeated = False

        def keyed(payment: PretendPayment) -> PretendPayment:
            nonlocal repeated
            done = payment.done.get(key)
            repeated = done is not None
            if done is None:
                return replace(change(payment), done={**payment.done, key: what})
            if done != what:
                raise PaymentRefused("This key was used for something else.")
            return payment

        payment = await self._change(reference, keyed)
        return self._seen(payment) if repeated else self._answer(payment)

    async def _change(self, reference: str, change: Change) -> PretendPayment:
        for _ in range(ATTEMPTS):
            found = await self._records.get(PRETEND_PAYMENTS, reference)
            if found is None:
                raise _no_such_payment(reference)
            before = found.value.as_of(self._clock.now())
            after = change(before)
            if after == found.value:
                return after
            try:
                await self._commit(before, after, found.version)
            except WriteConflict:
                continue
            return after
        raise Unavailable("The pretend provider is too busy.")

    async def _commit(self, before: PretendPayment, after: PretendPayment, version: int) -> None:
        told = notices_of(before, after, self._clock.now())
        notices = [Put(PRETEND_NOTICES, notice, ANY) for notice in told]
        await self._records.commit([Put(PRETEND_PAYMENTS, after, version), *notices])

    async def _get(self, reference: str) -> PretendPayment:
        found = await self._records.get(PRETEND_PAYMENTS, reference)
        if found is None:
            raise _no_such_payment(reference)
        return found.value.as_of(self._clock.now())

    def _answer(self, payment: PretendPayment) -> Payment:
        """The first answer to a call that had its effect, unless it is to be lost."""
        if payment.outcome is Outcome.ANSWER_LOST:
            raise Unavailable("The answer was lost on purpose.")
        return self._seen(payment)

    def _seen(self, payment: PretendPayment) -> Payment:
        return payment.seen(f"{self._public_url}/pay/test/{payment.reference}")

    def _scene(self, payment: PretendPayment) -> Scene:
        return Scene(payment.charge, self._seen(payment), payment.asking)

    def _signature(self, at: str, body: bytes) -> bytes:
        return hmac.new(self._secret, at.encode() + b"." + body, "sha256").hexdigest().encode()

    def _outcome(self, charge: Charge) -> Outcome | None:
        """What is chosen without a shopper at the page, if anything is."""
        _, _, word = charge.email.partition("@")[0].rpartition("+")
        with suppress(ValueError):
            return Outcome(word.replace("-", "_"))
        dice = int.from_bytes(hashlib.blake2b(charge.order_id.encode(), digest_size=4).digest())
        rest = dice % 100
        for outcome, percent in self._shares.items():
            if rest < percent:
                return outcome
            rest -= percent
        return None


def _shares(url: str) -> dict[Outcome, int]:
    """Percentages of the orders, by the URL's query."""
    given = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    if unknown := [name for name, _ in given if name not in set(Outcome)]:
        raise ValueError(f"there is no outcome {unknown[0]!r}, but {', '.join(Outcome)}")
    if wrong := [(name, text) for name, text in given if not re.fullmatch("[0-9]{1,3}", text)]:
        raise ValueError(f"{wrong[0][0]} is {wrong[0][1]!r}, but takes a percentage")
    shares = {Outcome(name): int(percent) for name, percent in given}
    if sum(shares.values()) > 100:
        raise ValueError("shares are percentages, and 100 of them at most")
    return shares


def _no_such_payment(reference: str) -> NotFound:
    return NotFound(f"There is no payment {reference}.")
