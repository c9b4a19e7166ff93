"""The keys of items and of their places in indexes, so that DynamoDB sorts as every engine must."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256
from typing import NamedTuple

from ecokart.core.errors import Invalid
from ecokart.core.records import MAX_KEY_BYTES, Cursor, Sortable
from ecokart.engines.records_dynamodb_client import Item

MAX_HASH_BYTES = 2048
MAX_RANGE_BYTES = 1024
INTEGER_EDGE = 2**63


class Ordering(NamedTuple):
    """An index: its hash and range attributes with their types, and what they hold."""

    name: str
    by: str
    sort: str | None
    hash: tuple[str, str]
    range: tuple[str, str]
    descending: bool
    whole: bool  # whether it has the records, and not their keys alone
    many: bool  # whether a record may stand in it with several items, at one place or at several

    def hash_of(self, value: Sortable) -> str:
        return str(value) if self.hash[1] == "N" else hash_key(value)

    def start(self, after: Cursor) -> tuple[str, dict[str, str]]:
        """The condition on the range key of what comes behind a cursor; it may begin a little before."""
        way = "<" if self.descending else ">"
        if self.range[1] == "N":
            sort = after[0] if isinstance(after[0], int) else INTEGER_EDGE  # texts come last
            return f"#{self.range[0]} {way}= :after", number(_within_edges(sort))
        place = range_key(after[0] if self.sort else None, after[1])
        equal = "=" if len(place) == MAX_RANGE_BYTES else ""
        return f"#{self.range[0]} {way}{equal} :after", {"B": b64encode(place).decode()}

    def behind(self, place: Cursor, after: Cursor) -> bool:
        """Whether a place comes behind a cursor in this order."""
        one, other = [(isinstance(sort, str), sort, key) for sort, key in (place, after)]
        return one < other if self.descending else one > other

    def shared(self, item: Item) -> bool:
        """Whether other items may have this one's range key, in whatever order."""
        kind, value = next(iter(item[self.range[0]].items()))
        return self.many or kind == "N" or len(b64decode(value)) == MAX_RANGE_BYTES


def number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def key_item(key: str, shard: int | None = None) -> Item:
    """The key of a record's item, or of one of its shards; the first of those is the record's own item.

    A shard's begins with NUL and a digit, a record's key that begins with NUL with another NUL.
    """
    if shard:
        return {"k": {"S": f"\x00{shard}\x00{key}"}}
    return {"k": {"S": "\x00" + key if key.startswith("\x00") else key}}


def key_of(item: Item) -> str:
    """The key of the record that the item belongs to."""
    stored: str = item["k"]["S"]
    return stored[1:].partition("\x00")[2] if is_shard(item) else stored.removeprefix("\x00")


def is_shard(item: Item) -> bool:
    """Whether it is one of a record's further items."""
    stored: str = item["k"]["S"]
    return stored.startswith("\x00") and not stored.startswith("\x00\x00")


def is_key(key: str) -> bool:
    """Whether a record can have this key. Raises `Invalid` for what is no text."""
    return 0 < len(_encoded(key)) <= MAX_KEY_BYTES


def hash_key(value: Sortable) -> str:
    """An index's hash key: never empty, a number never like a text, and of a text too long its digest."""
    if isinstance(value, int):
        return f"n{value}"
    text = _encoded(value)
    return f"t{value}" if len(text) < MAX_HASH_BYTES else f"h{sha256(text).hexdigest()}"


def range_key(sort: Sortable | None, key: str) -> bytes:
    """An index's range key: sorts as the pair does, numbers before texts, cut off where it is too long."""
    if sort is None:
        head = b""
    elif isinstance(sort, int):
        head = b"\x01" + (_within_edges(sort) + INTEGER_EDGE).to_bytes(8, "big")
    else:
        # A NUL ends the text, so those in it are followed by what no text can contain.
        head = b"\x02" + _encoded(sort).replace(b"\x00", b"\x00\xff") + b"\x00"
    return (head + _encoded(key))[:MAX_RANGE_BYTES]


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # half a surrogate pair
        raise Invalid(f"No record can have that: {error}.") from error


def _within_edges(value: int) -> int:
    return min(max(value, -INTEGER_EDGE), INTEGER_EDGE - 1)
