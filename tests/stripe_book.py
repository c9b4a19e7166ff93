"""What Stripe keeps of a shop's payments, as far as we ask for it: the state behind `tests.stripe_fake`.

Objects are in the shapes of Stripe's API reference, with what we don't read left out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
# Of what the shop is told: what has happened at the end of the page's part, or afterwards.
TOLD = {
    "pay": "checkout.session.completed",
    "confirm": "checkout.session.completed",
    "transfer": "checkout.session.completed",
    "settle": "checkout.session.async_payment_succeeded",
    "bounce": "checkout.session.async_payment_failed",
}
ALWAYS_AT_ONCE = ("sepa_debit", "twint")


class Refused(Exception):
    """An error of the API."""

    def __init__(self, message: str, *, status: int = 400, **error: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"type": "invalid_request_error", "message": message} | error


class StripeBook:
    """Sessions, intents and refunds. `tell` is given each event, as the bytes that are sent of it."""

    def __init__(self, url: Callable[[str], str], tell: Callable[[bytes], None]) -> None:
        self.sessions: dict[str, Object] = {}
        self.intents: dict[str, Object] = {}
        self.refunds: list[Object] = []
        self._url, self._tell_bytes = url, tell
        self._numbers = itertools.count(1)

    # What a shopper does on the payment page, and later the bank.

    def act(self, reference: str, what: str) -> None:
        """`pay`, `decline`, `secure`, `confirm`, `refuse`, `transfer`, `settle`, `bounce`."""
        session = self.sessions[reference]
        intent = self._intent(session)
        held = session["capture_method"] == "manual"
        match what:
            case "pay" | "confirm" if held:
                intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
            case "pay" | "confirm" | "settle":
                intent |= {"status": "succeeded", "amount_received": intent["amount"]}
            case "secure":
                intent["status"] = "requires_action"
            case "transfer":
                intent["status"] = "processing"
            case "decline":
                _fail(intent, code="card_declined", decline_code="insufficient_funds")
            case "refuse":
                _fail(intent, code="payment_intent_authentication_failure")
            case "bounce":
                _fail(intent, code="debit_not_authorized")
        if what in TOLD:
            session["status"] = "complete"
            self._tell(TOLD[what], session)

    # The API's calls.

    def get(self, call: str, query: dict[str, str]) -> Any:
        if call == "refunds":
            intent_id = query["payment_intent"]
            return _list([one for one in self.refunds if one["payment_intent"] == intent_id])
        if call == "checkout/sessions":
            return _list([])
        session = self._session(call.rpartition("/")[2])
        intent = self.intents.get(session["payment_intent"] or "")
        whole = query.get("expand[0]") == "payment_intent.latest_charge"
        return session | {"payment_intent": intent} if whole else session

    def change(self, call: str, form: dict[str, str]) -> Any:
        match call.split("/"):
            case ["checkout", "sessions"]:
                return self._open(form)
            case ["checkout", "sessions", reference, "expire"]:
                return self._expire(self._session(reference))
            case ["payment_intents", intent_id, "capture"]:
                return _capture(self.intents[intent_id], int(form["amount_to_capture"]))
            case ["payment_intents", intent_id, "cancel"]:
                return _cancel(self.intents[intent_id])
            case ["refunds"]:
                return self._refund(form)
        raise Refused(f"Unrecognized request URL {call}.", status=404)

    def _open(self, form: dict[str, str]) -> Object:
        price = "line_items[0][price_data]"
        method = form["payment_method_types[0]"]
        held = form.get("payment_intent_data[capture_method]", "automatic")
        if held == "manual" and method in ALWAYS_AT_ONCE:
            raise Refused(f"{method} can't be captured manually.")
        reference = self._id("cs_test")
        session = self.sessions[reference] = {
            "id": reference,
            "object": "checkout.session",
            "status": "open",
            "amount_total": int(form[f"{price}[unit_amount]"]),
            "currency": form[f"{price}[currency]"],
            "url": self._url(reference),
            "success_url": form["success_url"],
            "metadata": {"order_id": form["metadata[order_id]"]},
            "capture_method": held,
            "payment_intent": None,
        }
        return session

    def _expire(self, session: Object) -> Object:
        if session["status"] != "open":
            raise Refused("Only an open session can be expired.")
        session |= {"status": "expired", "url": None}
        self._tell("checkout.session.expired", session)
        return session

    def _refund(self, form: dict[str, str]) -> Object:
        intent, amount = self.intents[form["payment_intent"]], int(form["amount"])
        charge = intent["latest_charge"]
        if amount > intent["amount_received"] - charge["amount_refunded"]:
            raise Refused("More than is left.", code="charge_already_refunded")
        charge["amount_refunded"] += amount
        refund = {
            "id": self._id("re"),
            "object": "refund",
            "status": "succeeded",
            "amount": amount,
            "payment_intent": intent["id"],
            "metadata": {name: form[f"metadata[{name}]"] for name in ("order_id", "key")},
        }
        self.refunds.append(refund)
        self._tell("refund.created", refund)
        return refund

    def _session(self, reference: str) -> Object:
        if reference not in self.sessions:
            raise Refused("No such session.", status=404, code="resource_missing")
        return self.sessions[reference]

    def _intent(self, session: Object) -> Object:
        """The session's intent, which there is from the first attempt to pay."""
        if session["payment_intent"] is None:
            intent_id = session["payment_intent"] = self._id("pi")
            self.intents[intent_id] = {
                "id": intent_id,
                "object": "payment_intent",
                "status": "requires_payment_method",
                "amount": session["amount_total"],
                "amount_received": 0,
                "amount_capturable": 0,
                "last_payment_error": None,
                "latest_charge": {"id": self._id("ch"), "amount_refunded": 0},
                "metadata": session["metadata"],
            }
        return self.intents[session["payment_intent"]]

    def _tell(self, kind: str, about: Object) -> None:
        event = {"id": self._id("evt"), "object": "event", "type": kind, "data": {"object": about}}
        self._tell_bytes(json.dumps(event).encode())

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers)}"


def _capture(intent: Object, amount: int) -> Object:
    if intent["status"] != "requires_capture":
        raise Refused("Too late.", code="payment_intent_unexpected_state")
    if amount > intent["amount_capturable"]:
        raise Refused("Too much.", code="amount_too_large")
    intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
    return intent


def _cancel(intent: Object) -> Object:
    if intent["status"] != "requires_capture":
        raise Refused("Too late.", code="payment_intent_unexpected_state")
    intent |= {"status": "canceled", "amount_capturable": 0}
    return intent


def _fail(intent: Object, **error: str) -> None:
    intent |= {"status": "requires_payment_method", "last_payment_error": error}


def _list(data: list[Object]) -> Object:
    return {"object": "list", "data": data, "has_more": False}
