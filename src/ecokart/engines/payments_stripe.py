"""Stripe, by its own library: hosted Checkout Sessions, so that no card data ever comes near us.

A payment is a Checkout Session, and its reference is the session's id; what is held and taken is the
session's PaymentIntent. Stripe's answers to an Idempotency-Key are kept for 24 hours, also when they
were a failure; so every call that moves money first looks whether it has had its effect already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
import stripe

from ecokart.core.errors import Forbidden, NotFound, Problem, Unavailable
from ecokart.core.i18n import gettext
from ecokart.core.money import Money
from ecokart.core.payments import Charge, Notice, Payment, PaymentRefused, PaymentState
from ecokart.core.rehearsal import Rehearsal
from ecokart.engines.payments_stripe_objects import (
    HELD,
    STRIPE_METHODS,
    PaymentIntent,
    Refund,
    RefundList,
    Session,
    notice_of,
    payment_of,
)

# The version our calls and structs are written for; an account's own default doesn't matter.
API_VERSION = "2026-10-28.endive"
TIMEOUT_SECONDS = 2.5  # of one request
# Done by the library, with pauses. Also where another process is at work under the same key (409).
RETRIES = 2
CALL_SECONDS = 9.5  # of a whole call, all its requests together
TOLERANCE_SECONDS = 300
PING_SECONDS = 60.0
BURNT_KEYS = 3
WHOLE = ["payment_intent.latest_charge"]

log = logging.getLogger("ecokart.engines")
T = TypeVar("T")

stripe.enable_telemetry = False


class StripePayments:
    """`Payments` by Stripe. The URL is `stripe:?methods=card,paypal`.

    `webhook_secrets` are all that a notice may be signed with, so that they can be changed one after
    the other. `api_base` in the URL is another place for the API, for tests. Raises `ValueError`.
    """

    def __init__(
        self,
        url: str,
        *,
        secret_key: str,
        webhook_secrets: tuple[str, ...],
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        query = urlsplit(url).query
        given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        self._methods = _methods(given.pop("methods", "card"))
        api_base = given.pop("api_base", stripe.DEFAULT_API_BASE)
        if given:
            raise ValueError(f"it takes methods, not {', '.join(given)}")
        self._webhook_secrets = webhook_secrets
        self._http = stripe.HTTPXClient(timeout=timeout_seconds)
        self._stripe = stripe.StripeClient(
            secret_key,
            stripe_version=API_VERSION,
            base_addresses={"api": api_base},
            max_network_retries=RETRIES,
            http_client=self._http,
        ).v1
        self._answered = -PING_SECONDS

    @property
    def methods(self) -> tuple[str, ...]:
        return self._methods

    @property
    def rehearsal(self) -> Rehearsal | None:
        return None

    async def begin(self, charge: Charge, *, key: str) -> Payment:
        if charge.method not in self._methods:
            raise PaymentRefused(f"{charge.method} is not switched on.")
        params = _session(charge)
        sessions = self._stripe.checkout.sessions
        async with _bounded():
            begun = await self._post(
                lambda options: sessions.create_async(params, options), key, Session
            )
            # A repeat is answered as the first time, whatever has become of it since.
            return payment_of(await self._session(begun.id))

    async def look(self, reference: str) -> Payment:
        async with _bounded():
            return payment_of(await self._session(reference))

    async def capture(self, reference: str, amount: Money, *, key: str) -> Payment:
        async with _bounded():
            session = await self._session(reference)
            payment, intent = payment_of(session), session.payment_intent
            if payment.state is PaymentState.CAPTURED:
                return payment
            if payment.state is not PaymentState.AUTHORISED or intent is None:
                raise PaymentRefused(f"Nothing is held: the payment is {payment.state}.")
            if not 0 < amount.minor <= intent.amount_capturable:
                raise PaymentRefused(f"{payment.amount.amount} is held, not {amount.amount}.")
            capture, params = self._stripe.payment_intents.capture_async, _amount(amount)
            session.payment_intent = await self._post(
                lambda options: capture(intent.id, params, options), key, PaymentIntent
            )
            return payment_of(session)

    async def cancel(self, reference: str, *, key: str) -> Payment:
        async with _bounded():
            session = await self._session(reference)
            if payment_of(session).state is PaymentState.OPEN:
                expire = self._stripe.checkout.sessions.expire_async
                session = await self._called_off(session, expire, session.id, key)
            intent = session.payment_intent
            if intent and payment_of(session).state is PaymentState.AUTHORISED:
                cancel = self._stripe.payment_intents.cancel_async
                session = await self._called_off(session, cancel, intent.id, f"{key}.intent")
            return payment_of(session)

    async def refund(self, reference: str, amount: Money, *, key: str) -> Payment:
        refunds = self._stripe.refunds
        async with _bounded():
            session = await self._session(reference)
            payment, intent = payment_of(session), session.payment_intent
            if payment.state is not PaymentState.CAPTURED or intent is None:
                raise PaymentRefused(f"Nothing was taken: the payment is {payment.state}.")
            made = await self._get(
                refunds.list_async({"payment_intent": intent.id, "limit": 100}), RefundList
            )
            if any(refund.metadata.get("key") == key for refund in made.data):
                return payment
            left = payment.captured - payment.refunded
            if not 0 < amount.minor <= left.minor:
                raise PaymentRefused(f"{left.amount} can be given back, not {amount.amount}.")
            params: Any = {
                "payment_intent": intent.id,
                "amount": amount.minor,
                "metadata": {"order_id": payment.order_id, "key": key},
            }
            await self._post(lambda options: refunds.create_async(params, options), key, Refund)
            return payment_of(await self._session(reference))

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice | None:
        signature = headers.get("stripe-signature", "")
        if not any(_signed(body, signature, secret) for secret in self._webhook_secrets):
            raise Forbidden("The signature is not Stripe's, or too old.")
        return notice_of(body)

    async def ping(self) -> str:
        """Asks Stripe once a minute at most: it counts our requests."""
        if monotonic() - self._answered >= PING_SECONDS:
            async with _bounded():
                await self._get(self._stripe.checkout.sessions.list_async({"limit": 1}), dict)
            self._answered = monotonic()
        return f"Stripe {API_VERSION}"

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def _session(self, reference: str) -> Session:
        retrieve = self._stripe.checkout.sessions.retrieve_async
        return await self._get(retrieve(reference, {"expand": WHOLE}), Session)

    async def _called_off(
        self, session: Session, call: Callable[..., Awaitable[Any]], id_: str, key: str
    ) -> Session:
        """The session after that call, or as it is where somebody was quicker: paid, or expired."""
        try:
            await self._post(lambda options: call(id_, {}, options), key, dict)
        except stripe.InvalidRequestError as error:
            log.info("payments: %s can't be called off: %s", id_, error.user_message)
        return await self._session(session.id)

    @staticmethod
    async def _get(call: Awaitable[Any], kind: type[T]) -> T:
        answer = await call
        return msgspec.json.decode(answer.last_response.body, type=kind)

    @staticmethod
    async def _post(call: Callable[[Any], Awaitable[Any]], key: str, kind: type[T]) -> T:
        """Make a call under its key. Where Stripe repeats an old failure of its own, the key is burnt.

        Then the next one takes its place: the caller has seen that the effect isn't there.
        """
        for number in range(BURNT_KEYS):
            used = f"{key}:{number}" if number else key
            try:
                answer = await call({"idempotency_key": used})
            except stripe.StripeError as error:
                burnt = _is_server_error(error) and _is_replayed(error)
                if not burnt or number == BURNT_KEYS - 1:
                    raise
            else:
                return msgspec.json.decode(answer.last_response.body, type=kind)
        raise AssertionError("the last attempt returns or raises")


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    """A call's time is bounded, and its failure is one of ours."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            yield
    except TimeoutError:
        raise Unavailable(f"Stripe doesn't answer within {CALL_SECONDS:g} s.") from None
    except stripe.StripeError as error:
        raise _problem(error) from error


def _problem(error: stripe.StripeError) -> Problem:
    """Stripe's error as ours. A key that Stripe refuses is our mistake: the order isn't lost by it."""
    match error:
        case stripe.CardError():
            return PaymentRefused(error.code or "declined")
        case stripe.InvalidRequestError(code="resource_missing"):
            return NotFound(str(error.user_message))
        case stripe.InvalidRequestError() | stripe.IdempotencyError():
            return PaymentRefused(str(error.user_message))
        case stripe.AuthenticationError() | stripe.PermissionError():
            log.error("payments: Stripe refuses our key: %s", error.user_message)
            return Unavailable("Stripe refuses our key.")
        case stripe.APIConnectionError():
            return Unavailable("Stripe can't be reached.")
    return Unavailable(f"Stripe answered {error.http_status}.")


def _is_server_error(error: stripe.StripeError) -> bool:
    return error.http_status is not None and error.http_status >= 500


def _is_replayed(error: stripe.StripeError) -> bool:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    return headers.get("idempotent-replayed") == "true"


def _signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body.decode(), signature, secret, TOLERANCE_SECONDS)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return True


def _session(charge: Charge) -> Any:
    """What Stripe needs for the payment page of that charge."""
    _ = partial(gettext, charge.language)
    about = _("Order %(number)s", number=charge.order_id)
    order = {"order_id": charge.order_id}
    intent: dict[str, Any] = {"description": about, "metadata": order}
    if charge.method in HELD:
        intent["capture_method"] = "manual"
    price = {
        "currency": charge.amount.currency.lower(),
        "unit_amount": charge.amount.minor,
        "product_data": {"name": about},
    }
    params = {
        "mode": "payment",
        "payment_method_types": [STRIPE_METHODS[charge.method]],
        "payment_intent_data": intent,
        "line_items": [{"quantity": 1, "price_data": price}],
        "client_reference_id": charge.order_id,
        "metadata": order,
        "locale": charge.language,
        "success_url": charge.return_url,
        "cancel_url": charge.return_url,
    }
    return params | ({"customer_email": charge.email} if charge.email else {})


def _amount(amount: Money) -> Any:
    return {"amount_to_capture": amount.minor, "expand": ["latest_charge"]}


def _methods(text: str) -> tuple[str, ...]:
    chosen = [name.strip() for name in text.split(",")]
    if unknown := [name for name in chosen if name not in STRIPE_METHODS]:
        raise ValueError(f"there is no method {unknown[0]!r}, but {', '.join(STRIPE_METHODS)}")
    return tuple(name for name in STRIPE_METHODS if name in chosen)
