"""What a route is given: the request with its visitor, the ports, and what `app.py` provides."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request as StarletteRequest

from ecokart.core.errors import FieldError, Invalid, Problem
from ecokart.core.ports import Ports

T = TypeVar("T")

SESSION_COOKIE = "ecokart_session"
GUEST_COOKIE = "ecokart_guest"
LANGUAGE_COOKIE = "ecokart_language"


class BadRequest(Problem):
    """The request can't be read."""

    status = 400


class UnsupportedMediaType(Problem):
    """This kind of content isn't taken here."""

    status = 415


class Visitor(msgspec.Struct, frozen=True):
    """Who asks: a customer who signed in, a guest with a basket, or nobody we know yet."""

    customer_id: str | None = None
    role: str = ""
    email: str = ""
    session_id: str | None = None
    guest_id: str | None = None

    @property
    def owner(self) -> str | None:
        """Whose carts and orders these are: `customer_id`, or `guest:…`."""
        return self.customer_id or (f"guest:{self.guest_id}" if self.guest_id else None)

    @property
    def actor(self) -> str:
        """Who does what is done now, as the log names them."""
        if self.customer_id:
            return f"{'staff' if self.role == 'admin' else 'customer'}:{self.customer_id}"
        return self.owner or "nobody"


NOBODY = Visitor()


class Request(StarletteRequest):
    """Starlette's request with what a route of ours needs."""

    visitor: Visitor = NOBODY
    language: str = "de"

    @property
    def ports(self) -> Ports:
        return self.use(Ports)

    def use(self, kind: type[T]) -> T:
        """The one object of that kind which `app.py` provides."""
        return cast(T, self.scope["provided"][kind])

    def header(self, name: bytes) -> str:
        """A header by its lower-case name; "" if it wasn't sent."""
        value: bytes = self.scope["header_map"].get(name, b"")
        return value.decode("latin-1")

    def query(self) -> dict[str, str]:
        """The query's parameters; of a repeated one the last."""
        text = self.scope["query_string"]
        return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True)) if text else {}

    def add_header(self, name: bytes, value: str) -> None:
        """Let the answer carry this, whichever it is: a problem too."""
        self.scope["answer_headers"].append((name, value.encode()))

    def when_answered(self, hear: Callable[[int, float], None]) -> None:
        """Let `hear` know the answer's status and how many seconds it took."""
        self.scope["answered"] = hear

    @property
    def request_id(self) -> str:
        return cast(str, self.scope["request_id"])

    @property
    def secure(self) -> bool:
        """Whether cookies may be marked as for TLS alone."""
        return cast(bool, self.scope["secure"])

    async def form_fields(self) -> dict[str, str]:
        """The fields of a posted form, blanks trimmed off; of a repeated field the last."""
        if not self.header(b"content-type").startswith("application/x-www-form-urlencoded"):
            raise UnsupportedMediaType("A form comes as application/x-www-form-urlencoded.")
        try:
            pairs = parse_qsl(
                (await self.body()).decode(), keep_blank_values=True, max_num_fields=200
            )
        except ValueError as error:
            raise BadRequest(f"The form can't be read: {error}.") from None
        return {name: value.strip() for name, value in pairs}


def convert(fields: dict[str, Any], kind: type[T]) -> T:
    """Text fields (of a form, a query) as a struct. Raises `Invalid` that names the field."""
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error) from None


def invalid(error: msgspec.ValidationError) -> Invalid:
    """A validation error as a problem: which field, and what is the matter with it."""
    message, _, place = str(error).partition(" - at `$")
    field = place.rstrip("`").removeprefix(".")
    if missing := re.fullmatch(r"Object missing required field `(.+)`", message):
        field = f"{field}.{missing[1]}".removeprefix(".")
        return Invalid(errors=(FieldError(field, "This is needed."),))
    return Invalid(errors=(FieldError(field, _in_plain_words(message, field)),))


def _in_plain_words(message: str, field: str) -> str:
    """`Expected `int` >= 1` → `Takes 1 or more.`; what msgspec says in another way stays as it is."""
    if message.startswith("Expected `str` matching regex"):
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field.rpartition(".")[2]).lower()
        return f"This is no valid {words or 'text'}."
    for pattern, sentence in _SENTENCES.items():
        if match := re.fullmatch(pattern, message):
            return sentence.format(*[_KINDS.get(part, part) for part in match.groups()])
    return f"{message}."


_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a decimal number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
}
_SENTENCES = {
    r"Expected `(\w+)(?: \| null)?`, got `(\w+)`": "Takes {0}, not {1}.",
    r"Expected `(?:int|float)` >= (.+?)(?:\.0)?": "Takes {0} or more.",
    r"Expected `(?:int|float)` <= (.+?)(?:\.0)?": "Takes {0} or less.",
    r"Expected `(?:str|array)` of length >= 1": "This is needed.",
    r"Expected `str` of length >= (\d+)": "Takes {0} characters or more.",
    r"Expected `str` of length <= (\d+)": "Takes {0} characters or less.",
    r"Expected `array` of length <= (\d+)": "Takes {0} entries or fewer.",
    r"Invalid RFC3339 encoded datetime": "Takes a time like 2026-11-21T14:30:00Z.",
    r"Invalid enum value (.+)": "{0} is none of the values this takes.",
}
