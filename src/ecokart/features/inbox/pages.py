"""The inbox's pages. All of it works as plain forms; the script makes it live."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.clock import new_id
from ecokart.core.errors import Problem
from ecokart.core.records import Page
from ecokart.core.transaction import transact
from ecokart.features.chat import desk, frames, transcripts
from ecokart.features.chat import service as chat
from ecokart.features.chat.api import person_of
from ecokart.features.chat.hub import Hub
from ecokart.features.chat.model import (
    LONGEST_MESSAGE,
    ClientMessageId,
    Content,
    Desk,
    Kind,
    NoSuchRoom,
    Person,
    Room,
    Sequence,
)
from ecokart.features.inbox import service
from ecokart.features.inbox.model import MOST_ANSWERS, NewAnswer, TooManyAnswers
from ecokart.web import paging
from ecokart.web.pages import page, see_other, wrong_fields
from ecokart.web.paging import CursorText
from ecokart.web.requests import Request, convert
from ecokart.web.responses import json
from ecokart.web.routing import Access, Routes

routes = Routes(page=True, access=Access.ADMIN)

HERE = "/admin/chat"
PAGE_SIZE = 50


class Show(StrEnum):
    """Which conversations are listed."""

    WAITING = "waiting"
    MINE = "mine"
    ANSWERED = "answered"
    CLOSED = "closed"


class ListQuery(msgspec.Struct, frozen=True):
    show: Show = Show.WAITING
    q: Annotated[str, Meta(max_length=100)] = ""
    cursor: CursorText = ""


class Written(msgspec.Struct):
    """An answer or a note. `number` makes sending it twice harmless."""

    content: Content
    number: ClientMessageId


class Taken(msgspec.Struct):
    """Which message is taken out."""

    sequence: Sequence


@routes("GET", HERE, query=ListQuery)
async def list_rooms(request: Request, query: ListQuery) -> Response:
    """The queue: who waits the longest comes first."""
    person = await person_of(request)
    await transact(request.ports, service.seen, person)
    await transact(request.ports, desk.open_desk)
    found = await _listed(request, person, query)
    return await page(
        request,
        "inbox/list.html",
        rooms=found.values,
        shows=list(Show),
        query=query,
        following=paging.write(found.after),
        waiting=await desk.waiting(request.ports.records),
        now=request.ports.clock.now(),
    )


@routes("GET", f"{HERE}/count")
async def count_waiting(request: Request) -> Response:
    """How many wait, for the number beside the tab."""
    return json({"waiting": await desk.waiting(request.ports.records)})


@routes("GET", f"{HERE}/answers")
async def list_answers(request: Request) -> Response:
    """The answers that are given again and again."""
    return await _answers(request)


@routes("POST", f"{HERE}/answers")
async def add_answer(request: Request) -> Response:
    """Add one; what is wrong is said beside its field."""
    fields = await _typed(request, "text")
    if wrong := wrong_fields(fields, NewAnswer):
        return await _answers(request, fields, wrong)
    try:
        await transact(request.ports, service.add_answer, convert(fields, NewAnswer))
    except TooManyAnswers as why:
        return await _answers(request, fields, why=why)
    return see_other(f"{HERE}/answers")


@routes("POST", f"{HERE}/answers/{{id}}/remove")
async def remove_answer(request: Request, id: str) -> Response:  # noqa: A002 (the path's own name)
    await transact(request.ports, service.remove_answer, id)
    return see_other(f"{HERE}/answers")


@routes("GET", f"{HERE}/{{id}}")
async def show_room(request: Request, id: str) -> Response:  # noqa: A002
    """A conversation, with its shopper beside it."""
    return await _room(request, id)


@routes("POST", f"{HERE}/{{id}}/answer")
async def answer(request: Request, id: str) -> Response:  # noqa: A002
    """Answer the shopper. An answer chosen from the list goes where nothing was typed."""
    fields = await _typed(request, "content")
    if not fields["content"] and fields.get("canned"):
        fields["content"] = (await service.answer(request.ports.records, fields["canned"])).text
    return await _write(request, id, id, fields)


@routes("POST", f"{HERE}/{{id}}/note")
async def note(request: Request, id: str) -> Response:  # noqa: A002
    """Note something that only the staff see."""
    fields = await _typed(request, "content")
    notes = await transact(request.ports, desk.open_notes, await person_of(request), id)
    return await _write(request, id, notes.id, fields)


@routes("POST", f"{HERE}/{{id}}/assign")
async def assign(request: Request, id: str) -> Response:  # noqa: A002
    """Give a conversation to somebody of the staff, or back into the queue."""
    agent_id = (await request.form_fields()).get("agent", "")
    name = (await service.agent(request.ports.records, agent_id)).name if agent_id else ""
    return await _moved(request, id, desk.assign, agent_id, name)


@routes("POST", f"{HERE}/{{id}}/close")
async def close(request: Request, id: str) -> Response:  # noqa: A002
    """The question is settled."""
    return await _moved(request, id, desk.close)


@routes("POST", f"{HERE}/{{id}}/reopen")
async def reopen(request: Request, id: str) -> Response:  # noqa: A002
    return await _moved(request, id, desk.reopen)


@routes("POST", f"{HERE}/{{id}}/block")
async def block(request: Request, id: str) -> Response:  # noqa: A002
    """Let the shopper write nothing any more, or again."""
    person = await person_of(request)
    room = await _support(request, person, id)
    if (await request.form_fields()).get("blocked") == "yes":
        await transact(request.ports, chat.block, person, room.owner, "")
    else:
        await transact(request.ports, chat.unblock, person, room.owner)
    return _to(id)


@routes("POST", f"{HERE}/{{id}}/redact")
async def redact(request: Request, id: str) -> Response:  # noqa: A002
    """Take a message out for good."""
    taken = convert(await request.form_fields(), Taken)
    await request.use(Hub).redact(await person_of(request), id, taken.sequence)
    return _to(id)


@routes("POST", f"{HERE}/{{id}}/transcript")
async def mail_transcript(request: Request, id: str) -> Response:  # noqa: A002
    """Let the conversation go to its shopper by mail."""
    await transact(request.ports, transcripts.ask, await person_of(request), id)
    return _to(id)


@routes("POST", f"{HERE}/{{id}}/erase")
async def erase(request: Request, id: str) -> Response:  # noqa: A002
    """Take out for good all that was said, and who said it."""
    await desk.erase(request.ports, await person_of(request), id)
    return see_other(HERE)


@routes("GET", f"{HERE}/{{id}}/export")
async def export(request: Request, id: str) -> Response:  # noqa: A002
    """All that is kept of a conversation, as a file."""
    room, entries = await desk.everything(request.ports, await person_of(request), id)
    answer = json(
        {
            "room": frames.opened(room, ""),
            "openedAt": room.opened_at,
            "messages": [frames.message(entry) for entry in entries],
        }
    )
    answer.headers["content-disposition"] = f'attachment; filename="{quote(room.id)}.json"'
    return answer


async def _listed(request: Request, person: Person, query: ListQuery) -> Page[Room]:
    records, after = request.ports.records, paging.read(query.cursor)
    if query.q.strip():
        return Page(await desk.found(records, query.q), [], None)
    if query.show is Show.MINE:
        return await desk.working(records, person.id, after=after, limit=PAGE_SIZE)
    return await desk.listed(records, Desk(query.show), after=after, limit=PAGE_SIZE)


async def _room(
    request: Request, room_id: str, typed: str = "", why: Problem | None = None
) -> Response:
    ports, person = request.ports, await person_of(request)
    room = await _support(request, person, room_id)
    await transact(ports, service.seen, person)
    notes = await transact(ports, desk.open_notes, person, room_id)
    await transact(ports, desk.open_desk)
    return await page(
        request,
        "inbox/room.html",
        why.status if why else 200,
        room=room,
        me=person.id,
        said=await service.said(ports.records, room, notes),
        notes=notes,
        shopper=await service.shopper(ports, room),
        agents=await service.agents(ports),
        answers=await service.answers(ports.records),
        blocked=await desk.is_blocked(ports.records, room.owner),
        waiting=await desk.waiting(ports.records),
        number=new_id(),
        typed=typed,
        why=why,
        longest=LONGEST_MESSAGE,
        here=f"{HERE}/{room_id}",
    )


async def _answers(
    request: Request,
    typed: dict[str, str] | None = None,
    wrong: set[str] | None = None,
    why: Problem | None = None,
) -> Response:
    return await page(
        request,
        "inbox/answers.html",
        why.status if why else 422 if wrong else 200,
        answers=await service.answers(request.ports.records),
        most=MOST_ANSWERS,
        waiting=await desk.waiting(request.ports.records),
        typed=typed or {},
        wrong=wrong or set(),
        why=why,
        longest=LONGEST_MESSAGE,
        here=f"{HERE}/answers",
    )


async def _write(request: Request, room_id: str, into: str, fields: dict[str, str]) -> Response:
    """Store an answer or a note; what is refused stays typed."""
    try:
        written = convert(fields, Written)
        person = await person_of(request)
        await request.use(Hub).send(person, into, written.content, written.number)
    except Problem as why:
        return await _room(request, room_id, fields["content"], why)
    return _to(room_id)


async def _moved(
    request: Request, room_id: str, move: Callable[..., Awaitable[Room]], *given: Any
) -> Response:
    room = await transact(request.ports, move, await person_of(request), room_id, *given)
    await request.use(Hub).tell_desk(room)
    return _to(room_id)


async def _support(request: Request, person: Person, room_id: str) -> Room:
    room = await chat.readable(request.ports.records, person, room_id)
    if room.kind is not Kind.SUPPORT:
        raise NoSuchRoom
    return room


async def _typed(request: Request, field: str) -> dict[str, str]:
    """The form, with that field's line breaks as a message has them."""
    fields = await request.form_fields()
    return fields | {field: fields.get(field, "").replace("\r\n", "\n")}


def _to(room_id: str) -> Response:
    return see_other(f"{HERE}/{quote(room_id)}#newest")
