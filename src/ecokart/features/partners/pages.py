"""The office's pages for partners: their data, their keys, and what they have asked."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.errors import NotFound, Problem
from ecokart.core.transaction import transact
from ecokart.features.accounts.model import Address, Email, ShortText, WrongPostalCode
from ecokart.features.partners import audit, service
from ecokart.features.partners.api import PartnerLimits
from ecokart.features.partners.model import (
    KeyEnded,
    Limits,
    Partner,
    Scope,
    TooLateToRestore,
    TooManyKeys,
)
from ecokart.features.partners.service import Details, Issued
from ecokart.web import paging
from ecokart.web.pages import page, see_other, wrong_fields
from ecokart.web.paging import CursorText
from ecokart.web.requests import Request, convert
from ecokart.web.routing import Access, Routes

routes = Routes(page=True, access=Access.ADMIN)

HERE = "/admin/partners"
PAGE_SIZE = 50
ADDRESS_FIELDS = ("name", "company", "street", "postalCode", "city")
# How long a new key may hold, and an old one beside its successor.
DAYS = (90, 365, 730)
HOURS = (0, 1, 24, 168)

ShortWord = Annotated[str, Meta(max_length=40)]
PerMinute = Annotated[int, Meta(ge=1, le=10_000_000)]


class ListQuery(msgspec.Struct, frozen=True):
    cursor: CursorText = ""


class Done(StrEnum):
    """What was done just now, and is told on the page that follows."""

    ADDED = "added"
    CHANGED = "changed"
    ON = "on"
    OFF = "off"
    REVOKED = "revoked"
    RESTORED = "restored"


class ShowQuery(msgspec.Struct, frozen=True):
    done: Done | None = None
    key: ShortWord = ""


class Answered(StrEnum):
    """How a request was answered."""

    WELL = "well"
    REFUSED = "refused"
    FAILED = "failed"


STATUSES = {
    None: range(600),
    Answered.WELL: range(400),
    Answered.REFUSED: range(400, 500),
    Answered.FAILED: range(500, 600),
}


class RequestsQuery(msgspec.Struct, frozen=True):
    day: date | None = None
    answered: Answered | None = None
    cursor: CursorText = ""


class Form(msgspec.Struct, rename="camel"):
    """A partner's data as they are typed; the address is a form of its own."""

    partner: ShortText
    email: Email = ""
    mail_language: Annotated[str, Meta(pattern="^(?:de|en)$")] = "de"
    per_key: PerMinute | None = None
    per_customer: PerMinute | None = None


@routes("GET", HERE, query=ListQuery)
async def list_partners(request: Request, query: ListQuery) -> Response:
    """All partners by name."""
    found = await service.every(
        request.ports.records, after=paging.read(query.cursor), limit=PAGE_SIZE
    )
    return await page(
        request,
        "partners/list.html",
        partners=found.values,
        now=request.ports.clock.now(),
        query=query,
        following=paging.write(found.after),
    )


@routes("GET", f"{HERE}/new")
async def begin_partner(request: Request) -> Response:
    """The form for a new one."""
    return await _new(request, {}, set())


@routes("POST", HERE)
async def add_partner(request: Request) -> Response:
    """Add a partner; what is wrong is said beside its field."""
    fields = await request.form_fields()
    details, wrong = _details(fields)
    if details is None:
        return await _new(request, fields, wrong)
    partner = await transact(request.ports, service.add, details)
    return _shown_next(partner.id, Done.ADDED)


@routes("GET", f"{HERE}/{{id}}", query=ShowQuery)
async def show_partner(request: Request, query: ShowQuery, id: str) -> Response:  # noqa: A002 (the path's own name)
    """One partner with its keys."""
    return await _partner(request, id, query=query)


@routes("POST", f"{HERE}/{{id}}")
async def change_partner(request: Request, id: str) -> Response:  # noqa: A002
    """Put what was typed in the place of what was known."""
    fields = await request.form_fields()
    details, wrong = _details(fields)
    if details is None:
        return await _partner(request, id, typed=fields, wrong=wrong)
    await transact(request.ports, service.change, id, details)
    return _shown_next(id, Done.CHANGED)


@routes("POST", f"{HERE}/{{id}}/access")
async def switch_access(request: Request, id: str) -> Response:  # noqa: A002
    """Switch all of a partner's keys off, or on again."""
    active = (await request.form_fields()).get("active") == "yes"
    await transact(request.ports, service.activate, id, active=active)
    return _shown_next(id, Done.ON if active else Done.OFF)


@routes("POST", f"{HERE}/{{id}}/keys")
async def issue_key(request: Request, id: str) -> Response:  # noqa: A002
    """Issue a key. The page that comes back is the only one that ever shows it."""
    fields = await request.form_fields()
    scopes = [scope for scope in Scope if scope in fields]
    wrong = wrong_fields({"label": fields.get("label", "")}, KeyForm)
    if not scopes:
        wrong.add("scopes")
    if wrong:
        return await _partner(request, id, typed=fields, wrong=wrong)
    days = _chosen(fields, "days", DAYS)
    try:
        issued = await transact(
            request.ports,
            service.issue,
            id,
            name=fields["label"],
            scopes=scopes,
            holds=timedelta(days=days) if days else None,
        )
    except TooManyKeys as why:
        return await _partner(request, id, typed=fields, why=why)
    return await _partner(request, id, issued=issued)


class KeyForm(msgspec.Struct):
    """What a key is called, to be told from the others."""

    label: ShortText


@routes("POST", f"{HERE}/{{id}}/keys/{{key_id}}/rotate")
async def rotate_key(request: Request, id: str, key_id: str) -> Response:  # noqa: A002
    """Issue a successor, shown once as well; the old key ends a while later."""
    hours = _chosen(await request.form_fields(), "hours", HOURS)
    try:
        issued = await transact(
            request.ports, service.rotate, id, key_id, overlap=timedelta(hours=hours)
        )
    except (KeyEnded, TooManyKeys) as why:
        return await _partner(request, id, why=why)
    return await _partner(request, id, issued=issued)


@routes("POST", f"{HERE}/{{id}}/keys/{{key_id}}/revoke")
async def revoke_key(request: Request, id: str, key_id: str) -> Response:  # noqa: A002
    """End a key at once; the page that follows can undo it for a while."""
    await transact(request.ports, service.revoke, id, key_id)
    return _shown_next(id, Done.REVOKED, key_id)


@routes("POST", f"{HERE}/{{id}}/keys/{{key_id}}/restore")
async def restore_key(request: Request, id: str, key_id: str) -> Response:  # noqa: A002
    """Undo a revocation of just now."""
    try:
        await transact(request.ports, service.restore, id, key_id)
    except TooLateToRestore as why:
        return await _partner(request, id, why=why)
    return _shown_next(id, Done.RESTORED, key_id)


@routes("GET", f"{HERE}/{{id}}/requests", query=RequestsQuery)
async def show_requests(request: Request, query: RequestsQuery, id: str) -> Response:  # noqa: A002
    """What a partner asked on a day, or those whose key is nobody's."""
    ports = request.ports
    partner = None if id == audit.NOBODY else await transact(ports, service.one, id)
    day = query.day or ports.clock.now().date()
    try:
        start = datetime.combine(day, time(), UTC)
        end = start + timedelta(days=1)
    except OverflowError:
        raise NotFound from None
    found = await audit.shown(
        ports.records,
        id,
        start,
        end,
        statuses=STATUSES[query.answered],
        after=paging.read(query.cursor),
    )
    return await page(
        request,
        "partners/requests.html",
        partner=partner,
        partner_id=id,
        day=day,
        query=query,
        ways=list(Answered),
        entries=found.entries,
        lost=found.lost,
        following=paging.write(found.after),
    )


async def _new(request: Request, typed: dict[str, str], wrong: set[str]) -> Response:
    return await page(
        request,
        "partners/new.html",
        422 if wrong else 200,
        typed=typed,
        wrong=wrong,
        usual=request.use(PartnerLimits),
        here=f"{HERE}/new",
    )


async def _partner(
    request: Request,
    partner_id: str,
    *,
    query: ShowQuery | None = None,
    typed: dict[str, str] | None = None,
    wrong: set[str] | None = None,
    why: Problem | None = None,
    issued: Issued | None = None,
) -> Response:
    ports = request.ports
    partner = await transact(ports, service.one, partner_id)
    return await page(
        request,
        "partners/partner.html",
        why.status if why else 422 if wrong else 200,
        partner=partner,
        uses=await service.uses(ports.records, partner.keys),
        now=ports.clock.now(),
        query=query or ShowQuery(),
        typed=_as_typed(partner) | (typed or {}),
        wrong=wrong or set(),
        why=why,
        issued=issued,
        public_url=str(request.base_url).rstrip("/"),
        usual=request.use(PartnerLimits),
        scopes=list(Scope),
        days=DAYS,
        hours=HOURS,
        here=f"{HERE}/{partner_id}",
    )


def _shown_next(partner_id: str, done: Done, key_id: str = "") -> Response:
    given = {"done": done.value} | ({"key": key_id} if key_id else {})
    return see_other(f"{HERE}/{partner_id}?{urlencode(given)}")


def _details(fields: dict[str, str]) -> tuple[Details | None, set[str]]:
    """What was typed as a partner's data; None, and the fields that are wrong, where it isn't."""
    given = {name: text for name, text in fields.items() if text}
    wrong = wrong_fields(given, Form)
    address, wrong_there = _address(given)
    if wrong := wrong | wrong_there:
        return None, wrong
    form = convert(given, Form)
    details = Details(
        name=form.partner,
        email=form.email,
        address=address,
        language=form.mail_language,
        limits=Limits(form.per_key, form.per_customer),
    )
    return details, set()


def _address(given: dict[str, Any]) -> tuple[Address | None, set[str]]:
    """The address, where any of it was given; a chosen country alone is none."""
    if not any(field in given for field in ADDRESS_FIELDS):
        return None, set()
    if wrong := wrong_fields(given, Address):
        return None, wrong
    address = convert(given, Address)
    try:
        address.check()
    except WrongPostalCode:
        return None, {"postalCode"}
    return address, set()


def _as_typed(partner: Partner) -> dict[str, str]:
    """The partner's data as a form shows them."""
    address = msgspec.to_builtins(partner.address) if partner.address else {}
    limits = {"perKey": partner.limits.per_key, "perCustomer": partner.limits.per_customer}
    own = {"partner": partner.name, "email": partner.email, "mailLanguage": partner.language}
    return address | own | {name: str(most) for name, most in limits.items() if most}


def _chosen(fields: dict[str, str], name: str, choices: tuple[int, ...]) -> int:
    """The number chosen from a list; 0 for what isn't in it."""
    text = fields.get(name, "")
    return int(text) if text in map(str, choices) else 0
