"""Signing in and out, registering, and the address book, as pages."""

from __future__ import annotations

from contextlib import suppress

from msgspec import Struct
from starlette.responses import Response

from ecokart.core.transaction import transact
from ecokart.features.accounts import service
from ecokart.features.accounts.api import NewAccount
from ecokart.features.accounts.model import (
    SESSION_LENGTH,
    Address,
    EmailTaken,
    NoSuchAddress,
    Session,
    TooManyAddresses,
    WrongCredentials,
    WrongPostalCode,
)
from ecokart.features.accounts.sign_in import AtSignIn, bring_along
from ecokart.features.accounts.tokens import Tokens
from ecokart.web.i18n import language_of
from ecokart.web.pages import own_path, page, see_other, wrong_fields
from ecokart.web.requests import SESSION_COOKIE, Request, convert
from ecokart.web.routing import Access, Routes
from ecokart.web.visitors import forget, keep_session

routes = Routes(page=True, access=Access.ANYONE)


class NextQuery(Struct, frozen=True):
    next: str = "/"


@routes("GET", "/sign-in", query=NextQuery)
async def sign_in_form(request: Request, query: NextQuery) -> Response:
    if request.visitor.customer_id:
        return see_other(own_path(query.next))
    return await _form(request, "accounts/sign_in.html", {"next": own_path(query.next)})


@routes("POST", "/sign-in", limited="login")
async def sign_in(request: Request) -> Response:
    """Sign in; the guest's basket comes along."""
    fields = await request.form_fields()
    email, password = fields.get("email", ""), fields.get("password", "")
    try:
        customer, session = await service.sign_in(request.ports, email, password)
    except WrongCredentials:
        return await _form(request, "accounts/sign_in.html", fields, {"password"})
    return await _welcome(request, customer.id, session, fields)


@routes("GET", "/register", query=NextQuery)
async def register_form(request: Request, query: NextQuery) -> Response:
    if request.visitor.customer_id:
        return see_other(own_path(query.next))
    return await _form(request, "accounts/register.html", {"next": own_path(query.next)})


@routes("POST", "/register", limited="register")
async def register(request: Request) -> Response:
    """Open an account and sign in; the guest's basket comes along."""
    fields = await request.form_fields()
    if wrong := wrong_fields(fields, NewAccount):
        return await _form(request, "accounts/register.html", fields, wrong)
    ports, new = request.ports, convert(fields, NewAccount)
    try:
        customer = await service.register(
            ports, new.email, new.password, new.name, language_of(request)
        )
    except EmailTaken:
        return await _form(request, "accounts/register.html", fields, {"taken"}, 409)
    session = await transact(ports, service.begin_session, customer.id, None)
    return await _welcome(request, customer.id, session, fields)


@routes("POST", "/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session everywhere it is known: here and in the records."""
    if request.visitor.session_id:
        await transact(request.ports, service.end_session, request.visitor.session_id)
    return forget(request, see_other("/"), SESSION_COOKIE)


@routes("GET", "/account", access=Access.CUSTOMER)
async def account(request: Request) -> Response:
    """Who is signed in, and their address book."""
    return await _account(request)


@routes("POST", "/account/addresses", access=Access.CUSTOMER)
async def add_address(request: Request) -> Response:
    fields = await request.form_fields()
    if wrong := wrong_fields(fields, Address):
        return await _account(request, fields, wrong, 422)
    address = convert(fields, Address)
    try:
        await transact(request.ports, service.add_address, _customer(request), address)
    except WrongPostalCode:
        return await _account(request, fields, {"postalCode"}, 422)
    except TooManyAddresses:
        return await _account(request, fields, {"full"}, 409)
    return see_other("/account#addresses")


@routes("POST", "/account/addresses/remove", access=Access.CUSTOMER)
async def remove_address(request: Request) -> Response:
    fields = await request.form_fields()
    with suppress(NoSuchAddress):  # then it is gone, which is what was asked for
        await transact(
            request.ports, service.remove_address, _customer(request), fields.get("id", "")
        )
    return see_other("/account#addresses")


async def _welcome(
    request: Request, customer_id: str, session: Session, fields: dict[str, str]
) -> Response:
    guest_id = request.visitor.guest_id
    await bring_along(request.ports, request.use(AtSignIn), guest_id, customer_id)
    token = request.use(Tokens).issue(session)
    response = see_other(own_path(fields.get("next", "/")))
    return keep_session(request, response, token, int(SESSION_LENGTH.total_seconds()))


async def _form(
    request: Request,
    template: str,
    typed: dict[str, str],
    wrong: set[str] | None = None,
    status: int | None = None,
) -> Response:
    """The form, with what was typed and what is wrong with it."""
    return await page(
        request,
        template,
        status or (422 if wrong else 200),
        typed=typed | {"next": own_path(typed.get("next", "/"))},
        wrong=wrong or set(),
        here=request.scope["path"],
    )


async def _account(
    request: Request,
    typed: dict[str, str] | None = None,
    wrong: set[str] | None = None,
    status: int = 200,
) -> Response:
    customer = await transact(request.ports, service.customer, _customer(request))
    return await page(
        request,
        "accounts/account.html",
        status,
        customer=customer,
        typed=typed or {"name": customer.name},
        wrong=wrong or set(),
        here="/account",
    )


def _customer(request: Request) -> str:
    return request.visitor.customer_id or ""
