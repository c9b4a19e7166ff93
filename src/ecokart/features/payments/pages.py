"""The payment page of the pretend provider: every outcome at the press of a button, and no money."""

from __future__ import annotations

from contextlib import suppress

from starlette.responses import Response

from ecokart.core.errors import NotFound
from ecokart.core.payments import PaymentState
from ecokart.core.rehearsal import Outcome, Rehearsal, Scene
from ecokart.features.payments import service
from ecokart.web.pages import page, see_other
from ecokart.web.requests import Request
from ecokart.web.routing import Access, Routes

routes = Routes(page=True, access=Access.ANYONE)

EVERYWHERE = (
    Outcome.NO_FUNDS,
    Outcome.VANISHES,
    Outcome.NOTICE_LATE,
    Outcome.NOTICE_LOST,
    Outcome.ANSWER_LOST,
    Outcome.CAPTURE_REFUSED,
    Outcome.REFUND_REFUSED,
)
# What can be tried with a method, the most usual first.
OFFERED = {
    "card": (Outcome.PAYS, Outcome.SECURE, Outcome.EXPIRED, *EVERYWHERE),
    "sepa": (Outcome.SETTLES, Outcome.BOUNCES, *EVERYWHERE),
}


@routes("GET", "/pay/test/{reference}")
async def show(request: Request, reference: str) -> Response:
    """What is to be paid, and with which test cards that can be done."""
    return await _page(request, await _rehearsal(request).scene(reference))


@routes("POST", "/pay/test/{reference}")
async def pay(request: Request, reference: str) -> Response:
    """Pay with the chosen card, or answer the bank; then back to the shop if there is no more to do here."""
    rehearsal, fields = _rehearsal(request), await request.form_fields()
    scene = await rehearsal.scene(reference)
    if "bank" in fields:
        scene = await rehearsal.confirm(reference, agreed=fields["bank"] == "confirm")
    else:
        with suppress(ValueError):  # nothing was chosen: the page comes again
            scene = await rehearsal.choose(reference, Outcome(fields.get("card", "")))
    await service.fetch(request.ports)
    stays = scene.payment.state is PaymentState.OPEN or fields.get("card") == Outcome.VANISHES
    return see_other(f"/pay/test/{reference}" if stays else scene.charge.return_url)


def _rehearsal(request: Request) -> Rehearsal:
    """Only the pretend provider has a page here. Raises `NotFound`."""
    if request.ports.payments.rehearsal is None:
        raise NotFound
    return request.ports.payments.rehearsal


async def _page(request: Request, scene: Scene) -> Response:
    method = scene.charge.method
    return await page(
        request,
        "payments/test.html",
        bare=True,
        charge=scene.charge,
        payment=scene.payment,
        asking=scene.asking,
        is_open=scene.payment.state is PaymentState.OPEN,
        offered=OFFERED.get(method, (Outcome.PAYS, *EVERYWHERE)),
    )
