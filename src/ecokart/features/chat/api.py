"""The chat over a WebSocket, and over plain HTTP for whoever can't have one."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.responses import Response

from ecokart.core.transaction import transact
from ecokart.features.accounts import service as accounts
from ecokart.features.accounts.model import SessionEnded
from ecokart.features.chat import frames, service
from ecokart.features.chat.conversation import Conversation, history
from ecokart.features.chat.frames import Message
from ecokart.features.chat.hub import Hub
from ecokart.features.chat.listening import REASONS, Close, Listener
from ecokart.features.chat.model import (
    Blocked,
    ClientMessageId,
    Content,
    Context,
    EmptyMessage,
    Kind,
    Name,
    NoSuchRoom,
    Person,
    ReadOnly,
    Room,
    RoomClosed,
    RoomId,
    Sequence,
    SomebodyElse,
    State,
    UnwantedWords,
    guest_name,
)
from ecokart.web.i18n import language_of
from ecokart.web.limits import Limit
from ecokart.web.requests import Request, Visitor, convert
from ecokart.web.responses import Moment, json
from ecokart.web.routing import Access, Authenticator, Routes
from ecokart.web.sockets import Socket, SocketRoutes
from ecokart.web.visitors import keep_guest, owner_or_new_guest

routes = Routes("Chat", access=Access.ANYONE)
sockets = SocketRoutes()

GUEST_NAME_LENGTH = len("guest-") + 6  # as others see one who gives no name
ADDRESS_SHARE = 10  # so many people may write from one address as fast as one may


class ChatLimits:
    """How many messages a person and an address may send a minute. `app.py` provides it."""

    def __init__(self, per_minute: int) -> None:
        self.person = Limit(per_minute, 60.0)
        self.address = Limit(per_minute * ADDRESS_SHARE, 60.0)

    async def take(self, request: Request, person: Person) -> None:
        """Count a message. Raises `TooMany`."""
        client = request.client.host if request.client else "unknown"
        await self.person.take(request.ports.cache, f"chat:{person.id}")
        await self.address.take(request.ports.cache, f"chat:{client}")


class ConnectQuery(msgspec.Struct, frozen=True, rename="camel"):
    """`token` is the one that signing in gives; `userId` must then be its owner's. Guests may give a name."""

    user_id: Annotated[str, msgspec.Meta(max_length=80)] = ""
    username: Name = ""
    token: Annotated[str, msgspec.Meta(max_length=4000)] = ""


class NewMessage(msgspec.Struct, rename="camel"):
    """Sent again with the same `clientMessageId` it is stored once."""

    room_id: RoomId
    content: Content
    client_message_id: ClientMessageId = ""


class Stored(msgspec.Struct, rename="camel"):
    """The message is stored, at this number of the room. `duplicate`: it had been before."""

    room_id: str
    sequence: int
    message_id: str
    client_message_id: str
    created_at: Moment
    duplicate: bool


class ChatRoomView(msgspec.Struct, rename="camel"):
    """A room; `sequence` is the number of its newest message, `owner` the user whose support room it is."""

    id: str
    kind: Kind
    title: str
    owner: str
    state: State
    context: Context
    sequence: int


class HistoryQuery(msgspec.Struct):
    before: Sequence | None = None
    after: Sequence | None = None
    limit: frames.Limit = 50


class ChatHistory(msgspec.Struct):
    """Messages by number. `more` says whether there is more in that direction."""

    messages: list[Message]
    more: bool


@sockets("/chat", takes=frames.Asked, gives=frames.AllTold, query=ConnectQuery, closes=Close)
async def converse(socket: Socket) -> None:
    """Talk in rooms.

    A message is acknowledged once it is stored. Each room's entries come in sequence, each once;
    whoever was away goes on by `resume` with the last number it has.
    """
    request = socket.request
    query = convert(request.query(), ConnectQuery)
    try:
        person = await _person_of_socket(request, query)
    except (SessionEnded, SomebodyElse) as problem:
        await socket.accept()
        ended = isinstance(problem, SessionEnded)
        why = Close.SESSION_ENDED if ended else Close.NOT_YOURS
        return socket.drop(why, REASONS[why])
    hub, limits = request.use(Hub), request.use(ChatLimits)
    await socket.accept(_cookies(request))
    listener = Listener(socket.send, lambda why: socket.drop(why, REASONS[why]))
    conversation = Conversation(
        request.ports, hub, person, listener, lambda: limits.take(request, person)
    )
    async with hub.connected(listener, person):
        try:
            conversation.welcome()
            async for text in socket:
                await conversation.take(text)
        finally:
            await conversation.leave_all()


@routes(
    "POST",
    "/chat/rooms",
    takes=Context,
    gives={200: ChatRoomView},
    problems=(ReadOnly,),
    new_guests=True,
)
async def open_support_room(request: Request, body: Context) -> Response:
    """Open one's own support room, with what one is looking at.

    A guest without a name gets one by a cookie.
    """
    owner_or_new_guest(request)
    room = await transact(request.ports, service.open_support, await person_of(request), body)
    return keep_guest(request, json(_room(room)))


@routes(
    "POST",
    "/chat/messages",
    takes=NewMessage,
    gives={201: Stored},
    problems=(NoSuchRoom, RoomClosed, Blocked, EmptyMessage, UnwantedWords),
)
async def send_message(request: Request, body: NewMessage) -> Response:
    """Say something in a room. The answer comes once it is stored."""
    person = await _known(request)
    await request.use(ChatLimits).take(request, person)
    sent, duplicate = await request.use(Hub).send(
        person, body.room_id, body.content, body.client_message_id
    )
    stored = Stored(
        body.room_id, sent.sequence, sent.id, body.client_message_id, sent.at, duplicate
    )
    return json(stored, 201)


@routes(
    "GET",
    "/chat/rooms/{id}/messages",
    query=HistoryQuery,
    gives={200: ChatHistory},
    problems=(NoSuchRoom,),
)
async def list_messages(request: Request, id: str, query: HistoryQuery) -> Response:  # noqa: A002
    """A page of a room's history: before a number, behind one, or the newest.

    Asked again and again with the last number one has as `after`, it misses nothing.
    """
    person = await _known(request)
    found, more = await history(
        request.ports, person, id, before=query.before, after=query.after, limit=query.limit
    )
    return json(ChatHistory([frames.message(entry) for entry in found], more))


async def _person_of_socket(request: Request, query: ConnectQuery) -> Person:
    """Who opens the socket: by token, header or cookie. Raises `SessionEnded` and `SomebodyElse`."""
    if query.token:
        bearer = f"Bearer {query.token}".encode("latin-1", "replace")
        request.scope["header_map"][b"authorization"] = bearer
    request.visitor = await request.use(Authenticator).visitor(request)  # type: ignore[type-abstract]
    owner_or_new_guest(request)
    person = await person_of(request, query.username)
    if query.user_id and query.user_id not in person.ids:
        raise SomebodyElse
    return person


async def _known(request: Request) -> Person:
    """Who asks. Whoever has no name has no room either."""
    if request.visitor.owner is None:
        raise NoSuchRoom
    return await person_of(request)


async def person_of(request: Request, username: str = "") -> Person:
    """Who talks: a visitor who has a name. A customer goes by the account's name, so nobody passes for another."""
    visitor: Visitor = request.visitor
    guest = {guest_name(visitor.guest_id)} if visitor.guest_id else set[str]()
    if visitor.customer_id is None:
        (own,) = guest
        return Person(
            id=own,
            name=username.strip() or own[:GUEST_NAME_LENGTH],
            ids=frozenset(guest),
            shopper=visitor.owner or "",
            language=language_of(request),
        )
    customer = await transact(request.ports, accounts.customer, visitor.customer_id)
    return Person(
        id=customer.id,
        name=customer.name,
        ids=frozenset({customer.id} | guest),
        staff=visitor.role == "admin",
        session_id=visitor.session_id or "",
        shopper=customer.id,
        language=language_of(request),
    )


def _cookies(request: Request) -> list[tuple[bytes, bytes]]:
    """The cookie of a guest who is new, for the handshake's answer."""
    response = keep_guest(request, Response())
    return [header for header in response.raw_headers if header[0] == b"set-cookie"]


def _room(room: Room) -> ChatRoomView:
    return ChatRoomView(
        room.id, room.kind, room.title, room.owner, room.state, room.context, room.last
    )
