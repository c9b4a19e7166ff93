"""Accounts over HTTP, and who a request comes from."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from ecokart.core.transaction import transact
from ecokart.features.accounts import service
from ecokart.features.accounts.model import (
    Address,
    Customer,
    Email,
    EmailTaken,
    NoSuchAddress,
    Password,
    SavedAddress,
    SessionEnded,
    ShortText,
    TooManyAddresses,
    WrongCredentials,
    WrongPostalCode,
)
from ecokart.features.accounts.sign_in import AtSignIn, bring_along
from ecokart.features.accounts.tokens import Tokens
from ecokart.web.i18n import language_of
from ecokart.web.requests import SESSION_COOKIE, Request, Visitor
from ecokart.web.responses import Moment, json
from ecokart.web.routing import Access, Authenticator, Routes
from ecokart.web.visitors import guest_id_in

routes = Routes("Accounts")


class NewAccount(msgspec.Struct):
    email: Email
    password: Password
    name: ShortText


class Credentials(msgspec.Struct):
    email: str
    password: str


class UserView(msgspec.Struct, rename="camel"):
    id: str
    email: str
    name: str
    role: str
    created_at: Moment


class SignedIn(msgspec.Struct):
    """`token` goes into `Authorization: Bearer …` and holds for seven days."""

    token: str
    user: UserView


class SavedAddressView(msgspec.Struct):
    id: str
    address: Address


class AddressList(msgspec.Struct):
    addresses: list[SavedAddressView]


class AccountAuthenticator(Authenticator):
    """Knows a customer by the bearer token or the session cookie, a guest by the guest cookie.

    A bearer token that doesn't hold is refused; a cookie that doesn't is as good as none.
    """

    refusals = (SessionEnded,)

    async def visitor(self, request: Request) -> Visitor:
        kind, _, token = request.header(b"authorization").partition(" ")
        cookies = request.cookies if request.header(b"cookie") else {}
        guest_id = guest_id_in(cookies)
        by_cookie = not token and SESSION_COOKIE in cookies
        if by_cookie:
            token = cookies[SESSION_COOKIE]
        elif kind.lower() != "bearer" or not token:
            return Visitor(guest_id=guest_id)
        try:
            claims = request.use(Tokens).read(token, request.ports.clock.now())
            # From the records each time, so that signing out takes effect at once.
            session = await service.session(request.ports, claims.sid)
        except SessionEnded:
            if by_cookie:
                return Visitor(guest_id=guest_id)
            raise
        return Visitor(session.customer_id, session.role, session.email, session.id, guest_id)


@routes(
    "POST",
    "/auth/register",
    takes=NewAccount,
    gives={201: SignedIn},
    problems=(EmailTaken,),
    limited="register",
)
async def register(request: Request, body: NewAccount) -> Response:
    """Open an account and sign in."""
    ports = request.ports
    customer = await service.register(
        ports, body.email, body.password, body.name, language_of(request)
    )
    session = await transact(ports, service.begin_session, customer.id, None)
    await _bring_along(request, customer)
    return json(SignedIn(request.use(Tokens).issue(session), user_view(customer)), 201)


@routes(
    "POST",
    "/auth/login",
    takes=Credentials,
    gives={200: SignedIn},
    problems=(WrongCredentials,),
    limited="login",
)
async def login(request: Request, body: Credentials) -> Response:
    """Sign in. What a guest has in the cart comes along.

    The answer to a wrong password and to an unknown address is the same, and takes as long.
    """
    customer, session = await service.sign_in(request.ports, body.email, body.password)
    await _bring_along(request, customer)
    return json(SignedIn(request.use(Tokens).issue(session), user_view(customer)))


@routes("POST", "/auth/logout", gives={204: None}, access=Access.CUSTOMER)
async def logout(request: Request) -> Response:
    """Sign out. The token opens nothing from now on."""
    await transact(request.ports, service.end_session, request.visitor.session_id or "")
    return Response(status_code=204)


@routes("GET", "/auth/me", gives={200: UserView}, access=Access.CUSTOMER)
async def show_me(request: Request) -> Response:
    """Who is signed in."""
    return json(user_view(await transact(request.ports, service.customer, _customer(request))))


@routes("GET", "/api/addresses", gives={200: AddressList}, access=Access.CUSTOMER)
async def list_addresses(request: Request) -> Response:
    """One's own address book."""
    customer = await transact(request.ports, service.customer, _customer(request))
    return json(AddressList([_address_view(saved) for saved in customer.addresses]))


@routes(
    "POST",
    "/api/addresses",
    takes=Address,
    gives={201: SavedAddressView},
    problems=(TooManyAddresses, WrongPostalCode),
    access=Access.CUSTOMER,
)
async def add_address(request: Request, body: Address) -> Response:
    """Add an address. One that is there already is answered as it is."""
    saved = await transact(request.ports, service.add_address, _customer(request), body)
    return json(_address_view(saved), 201)


@routes(
    "DELETE",
    "/api/addresses/{id}",
    gives={204: None},
    problems=(NoSuchAddress,),
    access=Access.CUSTOMER,
)
async def remove_address(request: Request, id: str) -> Response:  # noqa: A002
    """Remove an address."""
    await transact(request.ports, service.remove_address, _customer(request), id)
    return Response(status_code=204)


async def _bring_along(request: Request, customer: Customer) -> None:
    guest_id = guest_id_in(request.cookies)
    await bring_along(request.ports, request.use(AtSignIn), guest_id, customer.id)


def user_view(customer: Customer) -> UserView:
    return UserView(customer.id, customer.email, customer.name, customer.role, customer.created_at)


def _address_view(saved: SavedAddress) -> SavedAddressView:
    return SavedAddressView(saved.id, saved.address)


def _customer(request: Request) -> str:
    return request.visitor.customer_id or ""
