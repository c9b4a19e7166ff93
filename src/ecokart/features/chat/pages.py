"""The shopper's pages of the chat: the dialog that the button of every page opens, and a page that needs no script."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.clock import new_id
from ecokart.core.errors import Invalid, Problem
from ecokart.core.transaction import transact
from ecokart.features.accounts.model import Email
from ecokart.features.chat import service, transcripts
from ecokart.features.chat.api import ChatLimits, person_of
from ecokart.features.chat.conversation import history
from ecokart.features.chat.hub import Hub
from ecokart.features.chat.model import (
    LONGEST_MESSAGE,
    ClientMessageId,
    Content,
    Entry,
    NoSuchRoom,
    Person,
    context_of,
    support_room_id,
)
from ecokart.web.pages import page, see_other, wrong_fields
from ecokart.web.requests import Request, convert
from ecokart.web.routing import Access, Routes
from ecokart.web.visitors import keep_guest, owner_or_new_guest

routes = Routes(page=True, access=Access.ANYONE)

HERE = "/chat/support"
SHOWN = 50


class WrongAddress(Invalid):
    """Please give an e-mail address, like name@example.com."""


class PageQuery(msgspec.Struct, frozen=True):
    """`page` is the path of the page from which somebody writes; `kept`: their address was just kept."""

    page: str = ""
    kept: bool = False


class Address(msgspec.Struct):
    """Where answers go by mail while nobody is there to read them."""

    email: Email


class Question(msgspec.Struct):
    """What is sent from the page. `number` makes sending it twice harmless."""

    content: Content
    number: ClientMessageId
    page: Annotated[str, Meta(max_length=200)] = ""


@routes("GET", "/chat/widget", query=PageQuery)
async def widget(request: Request, query: PageQuery) -> Response:
    """The dialog in the visitor's language, for the script that fills it."""
    context = msgspec.json.encode(context_of(query.page)).decode()
    return await page(
        request,
        "chat/dialog.html",
        context=context,
        longest=LONGEST_MESSAGE,
        back_at=_back_at(request),
    )


@routes("GET", HERE, query=PageQuery)
async def support(request: Request, query: PageQuery) -> Response:
    """The conversation as a page, with a form."""
    return await _support(request, query.page, kept=query.kept)


@routes("POST", f"{HERE}/email")
async def keep_email(request: Request) -> Response:
    """Keep where a guest wants answers by mail."""
    fields = await request.form_fields()
    if wrong_fields(fields, Address) or request.visitor.owner is None:
        return await _support(request, "", why=WrongAddress())
    person, email = await person_of(request), fields["email"]
    await transact(request.ports, transcripts.keep_email, person, email)
    return see_other(f"{HERE}?kept=true")


@routes("POST", HERE)
async def ask(request: Request) -> Response:
    """Say something in one's own support room, which is opened by that. What is refused stays typed."""
    fields = await request.form_fields()
    fields["content"] = fields.get("content", "").replace("\r\n", "\n")
    try:
        question = convert(fields, Question)
        owner_or_new_guest(request)
        person = await person_of(request)
        await request.use(ChatLimits).take(request, person)
        context = context_of(question.page)
        room = await transact(request.ports, service.open_support, person, context)
        await request.use(Hub).send(person, room.id, question.content, question.number)
    except Problem as why:
        return await _support(request, fields.get("page", ""), fields["content"], why)
    return keep_guest(request, see_other(f"{HERE}#newest"))


async def _support(
    request: Request,
    came_from: str,
    typed: str = "",
    why: Problem | None = None,
    *,
    kept: bool = False,
) -> Response:
    person = await person_of(request) if request.visitor.owner else None
    return await page(
        request,
        "chat/support.html",
        why.status if why else 200,
        entries=await _said(request, person) if person else [],
        me=person.id if person else "",
        number=new_id(),
        came_from=came_from,
        typed=typed,
        why=why,
        kept=kept,
        back_at=_back_at(request),
        longest=LONGEST_MESSAGE,
        here=HERE,
    )


def _back_at(request: Request) -> datetime | None:
    """When somebody is at the inbox again; None where somebody is now."""
    now, hours = request.ports.clock.now(), request.use(Hub).terms.hours
    return None if hours.staffed(now) else hours.opening(now)


async def _said(request: Request, person: Person) -> list[Entry]:
    room_id = support_room_id(person.id)
    try:
        found, _ = await history(
            request.ports, person, room_id, before=None, after=None, limit=SHOWN
        )
    except NoSuchRoom:
        return []
    if found:  # what is shown has been read
        await transact(request.ports, service.mark_read, person, room_id, found[-1].sequence)
    return [entry for entry in found if not entry.refers]
