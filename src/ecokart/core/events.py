"""Facts, and how they travel: a service emits one in its commit, the relay hands it on, a job reacts.

`emit` writes the event into the outbox, a record of the same commit as the effect; so there is
never an effect without its event, nor an event without its effect. What is told of a stream is also
kept, for ever, in the log (`core.log`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from datetime import datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from ecokart.core.records import CommitTooLarge, Table

if TYPE_CHECKING:
    from ecokart.core.ports import Ports

# An event travels in a job, and the smallest queue takes 256 KB: with room for the job around it, and
# for characters that take twice their bytes on the way.
MAX_EVENT_BYTES = 120_000
ATTEMPTS = 8  # of a handler that names no other number
TIMEOUT_SECONDS = 60.0
# What led to this: the request's id, carried along through every event that follows from it.
cause: ContextVar[str] = ContextVar("cause", default="")
# Who does this: `customer:…`, `guest:…`, `staff:…`, `partner:…`, `command`, or who reacts: `worker`.
actor: ContextVar[str] = ContextVar("actor", default="")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="name"):
    """A fact, past tense, named `noun.verbed` by its `tag`. `emit` fills `id`, `at`, `cause` and `actor`."""

    id: str = ""
    at: datetime | None = None
    cause: str = ""
    actor: str = ""

    def about(self) -> str:
        """The stream that this is a fact of, as `orders/EK-…`; "" for what is only a signal, and not kept."""
        return ""

    @classmethod
    def named(cls) -> str:
        return str(cls.__struct_config__.tag)


class Stated(msgspec.Struct, frozen=True, array_like=True):
    """An event as it travels: encoded once, for whoever keeps it."""

    id: str
    name: str
    event: msgspec.Raw


class OutboxEntry(msgspec.Struct, frozen=True):
    """The events of one commit, which still have to be handed to those who react to them. It has the first one's id."""

    id: str
    at: datetime
    events: tuple[Stated, ...]


def _of_one_event(entry: dict[str, Any]) -> dict[str, Any]:
    """In shape 1 each event had an entry of its own."""
    event = msgspec.Raw(_encode(entry["event"]))
    stated = Stated(entry["id"], entry["name"], event)
    return {"id": entry["id"], "at": entry["at"], "events": [stated]}


# Ids sort by time, so the outbox needs no index: what was committed first is scanned first.
OUTBOX = Table("outbox", OutboxEntry, key="id", shape=2, upgrades={1: _of_one_event})

E = TypeVar("E", bound=Event)
_encode = msgspec.json.Encoder().encode


def stated(event: Event, event_id: str, at: datetime) -> Stated:
    """The event with its id and time, by whom and because of what. Raises `CommitTooLarge`."""
    event = msgspec.structs.replace(
        event, id=event_id, at=at, cause=event.cause or cause.get(), actor=actor.get()
    )
    encoded = _encode(event)
    if len(encoded) > MAX_EVENT_BYTES:
        raise CommitTooLarge(f"The event {event.named()} takes {len(encoded)} bytes.")
    return Stated(event_id, event.named(), msgspec.Raw(encoded))


class Hopeless(Exception):
    """A handler's word that trying again won't help; its text says why."""


GiveUp = Callable[["Ports", Any, str], Awaitable[None]]


class Handler(NamedTuple):
    """A reaction to an event. Its name is stored with the job: renaming one orphans waiting jobs."""

    name: str
    event: type[Event]
    run: Callable[[Ports, Any], Awaitable[None]]
    lane: str
    decode: Callable[[bytes], Event]
    attempts: int
    timeout_seconds: float
    give_up: GiveUp | None
    having: bytes

    def concerns(self, event: msgspec.Raw) -> bool:
        """Whether it reacts to this one among the events of its kind, told without decoding it."""
        return not self.having or self.having in bytes(event)


class Timer(NamedTuple):
    """Something to do every so often, on exactly one process at a time."""

    name: str
    every: timedelta
    run: Callable[[Ports], Awaitable[None]]


def on(
    event: type[E],
    *,
    lane: str = "orders",
    attempts: int = ATTEMPTS,
    timeout_seconds: float = TIMEOUT_SECONDS,
    give_up: Callable[[Ports, E, str], Awaitable[None]] | None = None,
    having: str = "",
) -> Callable[[Callable[[Ports, E], Awaitable[None]]], Callable[[Ports, E], Awaitable[None]]]:
    """Run the function for every such event, at least once: it must be harmless to run it twice.

    Lanes are worked on independently, so that a slow mail server holds up no order. What fails so
    many times, or raises `Hopeless`, isn't tried again: `give_up(ports, event, why)` undoes what has
    to be undone, and may itself run twice. Without one, or if that fails too, the job lies among the
    dead letters.

    `having` is a text that has to stand in the event's JSON: whoever reacts to few of very many says so,
    and the others cost next to nothing.
    """
    if not 0 < timeout_seconds <= TIMEOUT_SECONDS:
        raise ValueError(
            f"A handler has at most {TIMEOUT_SECONDS} seconds."
        )  # a job's lease is longer

    def mark(
        function: Callable[[Ports, E], Awaitable[None]],
    ) -> Callable[[Ports, E], Awaitable[None]]:
        handler = Handler(
            name=_qualified(function),
            event=event,
            run=function,
            lane=lane,
            decode=msgspec.json.Decoder(event).decode,
            attempts=attempts,
            timeout_seconds=timeout_seconds,
            give_up=give_up,
            having=having.encode(),
        )
        function.__handler__ = handler  # type: ignore[attr-defined]
        return function

    return mark


def every(
    *, seconds: float = 0, minutes: float = 0, hours: float = 0
) -> Callable[[Callable[[Ports], Awaitable[None]]], Callable[[Ports], Awaitable[None]]]:
    """Run the function again and again, on one process at a time."""
    interval = timedelta(seconds=seconds, minutes=minutes, hours=hours)

    def mark(function: Callable[[Ports], Awaitable[None]]) -> Callable[[Ports], Awaitable[None]]:
        function.__timer__ = Timer(_qualified(function), interval, function)  # type: ignore[attr-defined]
        return function

    return mark


class Reactions:
    """Every handler and timer of the given `jobs` modules."""

    def __init__(self, modules: Iterable[ModuleType] = ()) -> None:
        self.handlers: dict[str, Handler] = {}
        self.by_event: dict[str, list[Handler]] = {}
        self.timers: dict[str, Timer] = {}
        for member in (member for module in modules for member in vars(module).values()):
            handler = getattr(member, "__handler__", None)
            if (
                handler and handler.name not in self.handlers
            ):  # imported twice is still one reaction
                self.handlers[handler.name] = handler
                self.by_event.setdefault(handler.event.named(), []).append(handler)
            if timer := getattr(member, "__timer__", None):
                self.timers[timer.name] = timer

    @property
    def lanes(self) -> list[str]:
        return sorted({handler.lane for handler in self.handlers.values()})


def _qualified(function: Callable[..., Any]) -> str:
    """`orders.jobs.begin`: the function's name inside the features."""
    return f"{function.__module__.removeprefix('ecokart.features.')}.{function.__name__}"
