"""The shopper's pages of the chat: the dialog that the button of every page opens, and a page that needs no script."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.clock import new_id
from ecokart.core.errors import Problem
from ecokart.core.transaction import transact
from ecokart.features.chat import service
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
from ecokart.web.pages import page, see_other
from ecokart.web.requests import Request, convert
from ecokart.web.routing import Access, Routes
from ecokart.web.visitors import keep_guest, owner_or_new_guest

routes = Routes(page=True, access=Access.ANYONE)

HERE = "/chat/support"
SHOWN = 50


class PageQuery(msgspec.Struct, frozen=True):
    """`page` is the path of the page from which somebody writes."""

    page: str = ""


class Question(msgspec.Struct):
    """What is sent from the page. `number` makes sending it twice harmless."""

    content: Content
    number: ClientMessageId
    page: Annotated[str, Meta(max_length=200)] = ""


@routes("GET", "/chat/widget", query=PageQuery)
async def widget(request: Request, query: PageQuery) -> Response:
    """The dialog in the visitor's language, for the script that fills it."""
    context = msgspec.json.encode(context_of(query.page)).decode()
    return await page(request, "chat/dialog.html", context=context, longest=LONGEST_MESSAGE)


@routes("GET", HERE, query=PageQuery)
async def support(request: Request, query: PageQuery) -> Response:
    """The conversation as a page, with a form."""
    return await _support(request, query.page)


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
    request: Request, came_from: str, typed: str = "", why: Problem | None = None
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
        longest=LONGEST_MESSAGE,
        here=HERE,
    )


async def _said(request: Request, person: Person) -> list[Entry]:
    try:
        found, _ = await history(
            request.ports, person, support_room_id(person.id), before=None, after=None, limit=SHOWN
        )
    except NoSuchRoom:
        return []
    return [entry for entry in found if not entry.refers]
