"""What a feature keeps, and the only four ways to change it.

A feature declares a `Table` once; every engine makes its own storage from the declaration. A commit
is a list of writes (`Put`, `Delete`, `Check`, `Adjust`), all of them or none, each with its condition.

The weakest engine's limits hold on every engine: `encode` enforces them before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from ecokart.core.errors import Conflict, Invalid, TooLarge, Unavailable

MAX_WRITES = 100
MAX_RECORD_BYTES = 400 * 1024
MAX_COMMIT_BYTES = 4 * 1024 * 1024
MAX_KEY_BYTES = 1024
MAX_INDEXED_BYTES = 800  # of a text: two and the key are a row of an index, and 2,700 bytes fit
MAX_SHARDS = 32
MAX_INTEGER = 2**53 - 1  # exact in JSON wherever it is read, and far from every engine's own edge

SHORT = MAX_INDEXED_BYTES // 4  # a text of so many characters fits, whichever they are

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What a `Put` or `Delete` may expect beside a version that was read: versions themselves are above 0.
ABSENT = 0
ANY = -1

T = TypeVar("T", bound=msgspec.Struct)
Sortable = str | int
# A place in an index: the sort value and the key of the last record seen.
Cursor = tuple[Sortable, str]


class Reason(StrEnum):
    """Which condition of a commit didn't hold."""

    EXISTS = "exists"
    GONE = "gone"
    CHANGED = "changed"
    FLOOR = "floor"


class WriteConflict(Conflict):
    """Somebody else changed this at the same moment.

    Nothing of the commit was applied. `table` and `key` name the write whose condition failed.
    """

    def __init__(self, table: str, key: str, reason: Reason) -> None:
        super().__init__(f"{table}/{key}: {reason}")
        self.table, self.key, self.reason = table, key, reason


class BelowFloor(WriteConflict):
    """There isn't enough left.

    An `Adjust` would have taken a counter below its floor. Running again doesn't help.
    """

    def __init__(self, table: str, key: str) -> None:
        super().__init__(table, key, Reason.FLOOR)


class OutcomeUnknown(Unavailable):
    """The answer was lost, so it isn't known whether this was stored. Please try again."""


class CommitTooLarge(TooLarge):
    """This is too much for one transaction."""


class Versioned(NamedTuple, Generic[T]):
    """A record and the version it had when it was read."""

    value: T
    version: int


class Page(NamedTuple, Generic[T]):
    """Records in order and the version each had; `after` continues behind them, None at the end."""

    values: list[T]
    versions: list[int]
    after: Cursor | None


class Row(NamedTuple):
    """A record as engines store it. `columns` follow `Table.columns`; None keeps a record out of an index."""

    key: str
    columns: list[Sortable | None]
    body: bytes


class Table(Generic[T]):
    """A kind of record.

    `key` names the field that identifies a record. An index is `(field,)` or `(field, sort_field)`;
    `"-placed_at"` sorts newest first, ties go by key. `counters` are whole numbers that `Adjust` may
    move, with the floor each may not fall below. `touched` is a time that every write sets, so that
    readers can ask what changed. `expires` is a time after which the record no longer exists. `shards`
    is a whole number: how many parts an engine whose records have a bounded rate each may split this
    one into; then `touched` moves by whole seconds.

    `shape` numbers the struct's layout. Raise it with every change that old records don't fit, and
    add to `upgrades` how a body of the shape before becomes the next: old records are read for ever.
    """

    def __init__(
        self,
        name: str,
        struct: type[T],
        *,
        key: str,
        indexes: Mapping[str, tuple[str, ...]] | None = None,
        counters: Mapping[str, int] | None = None,
        touched: str | None = None,
        expires: str | None = None,
        shards: str | None = None,
        shape: int = 1,
        upgrades: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] | None = None,
    ) -> None:
        self.name, self.struct, self.key = name, struct, key
        self.indexes = {index: Index.declared(fields) for index, fields in (indexes or {}).items()}
        self.counters = dict(counters or {})
        self.touched, self.expires, self.shards = touched, expires, shards
        self.shape, self.upgrades = shape, dict(upgrades or {})
        named = [field for index in self.indexes.values() for field in index.fields]
        extra = [field for field in (touched, expires) if field]
        self.columns = tuple(dict.fromkeys([*self.counters, *named, *extra]))
        # The columns that `Adjust` moves without rewriting the body: they win over what the body says.
        self.adjustable = tuple(self.counters) + ((touched,) if touched and self.counters else ())
        if shards and (expires or any(field in self.counters for field in named)):
            raise TypeError(f"{name}: what has an end or an index by a counter can't be split")
        self._columns_of = _getter(self.columns)
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(struct).decode

    def __repr__(self) -> str:
        return f"<Table {self.name}>"

    def key_of(self, value: T) -> str:
        key: str = getattr(value, self.key)
        return key

    def shards_of(self, value: T) -> int:
        return getattr(value, self.shards) if self.shards else 1

    def row(self, value: T) -> Row:
        """The record as it is stored. Raises `TooLarge` or `Invalid` if no engine would take it."""
        try:
            body = self._encode(value)
        except (UnicodeEncodeError, OverflowError) as error:
            raise Invalid(f"{self.name}: {error}.") from error
        if len(body) > MAX_RECORD_BYTES:
            raise CommitTooLarge(f"{self.name}/{self.key_of(value)} has {len(body)} bytes.")
        for counter, floor in self.counters.items():
            if getattr(value, counter) < floor:
                raise BelowFloor(self.name, self.key_of(value))
        if not 1 <= self.shards_of(value) <= MAX_SHARDS:
            raise Invalid(f"{self.name}/{self.key_of(value)} takes 1 to {MAX_SHARDS} shards.")
        columns = [
            field if type(field) is str and len(field) <= SHORT else sortable(field)
            for field in self._columns_of(value)
        ]
        return Row(self.key_of(value), columns, body)

    def load(self, shape: int, body: bytes, adjusted: Sequence[Any] = ()) -> T:
        """The record from what `row` gave and the columns of `adjustable`, which win over the body."""
        value = self.load_body(shape, body)
        if not self.adjustable:
            return value
        changes = dict(zip(self.adjustable, adjusted, strict=True))
        if self.touched:
            changes[self.touched] = moment(changes[self.touched])
        return msgspec.structs.replace(value, **changes)

    def load_body(self, shape: int, body: bytes) -> T:
        """The record as it was last put, from any shape there ever was."""
        if shape == self.shape:
            return self._decode(body)
        raw = msgspec.json.decode(body)
        for older in range(shape, self.shape):
            raw = self.upgrades[older](raw)
        return msgspec.convert(raw, self.struct)


def _getter(fields: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """All those fields of a struct at once."""
    if len(fields) > 1:
        return attrgetter(*fields)
    return lambda value: tuple([getattr(value, field) for field in fields])


class Index(NamedTuple):
    """An order over a table: equal `by`, sorted by `sort` and then by key."""

    by: str
    sort: str | None
    descending: bool

    @classmethod
    def declared(cls, fields: tuple[str, ...]) -> Index:
        by, sort = fields if len(fields) == 2 else (fields[0], None)
        return cls(by, sort.lstrip("-") if sort else None, bool(sort and sort.startswith("-")))

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.by, self.sort) if self.sort else (self.by,)


class Put(msgspec.Struct, frozen=True):
    """Store `value` whole if the record is at `expected`: a version, `ABSENT` or `ANY`."""

    table: Table[Any]
    value: Any
    expected: int


class Delete(msgspec.Struct, frozen=True):
    """Remove the record if it is at `expected`: a version, or `ANY` (which may find nothing)."""

    table: Table[Any]
    key: str
    expected: int


class Check(msgspec.Struct, frozen=True):
    """Change nothing, but let the commit fail unless the record is at `expected`, or `ABSENT`."""

    table: Table[Any]
    key: str
    expected: int


class Adjust(msgspec.Struct, frozen=True):
    """Add to counters of a record that exists, without reading it.

    Raises `BelowFloor` if one would fall below its floor. `at` becomes the table's `touched` time.
    """

    table: Table[Any]
    key: str
    add: dict[str, int]
    at: datetime


Write = Put | Delete | Check | Adjust


def write_key(write: Write) -> str:
    return write.table.key_of(write.value) if type(write) is Put else write.key  # type: ignore[union-attr]


def encode(writes: Sequence[Write]) -> list[Row | None]:
    """The rows of a commit (None for writes without a body), within the limits all engines share."""
    if len(writes) > MAX_WRITES:
        raise CommitTooLarge(f"{len(writes)} writes, and {MAX_WRITES} fit.")
    rows: list[Row | None] = []
    places = set()
    size = 0
    for write in writes:
        key = write_key(write)
        _check_key(write.table, key)
        places.add((write.table.name, key))
        row = None
        if type(write) is Put:
            row = write.table.row(write.value)
            size += len(row.body)
        elif type(write) is Adjust:
            _check_amounts(write)
        rows.append(row)
    if len(places) < len(writes):
        raise Invalid("A commit may write each record once.")
    if size > MAX_COMMIT_BYTES:
        raise CommitTooLarge(f"{size} bytes, and {MAX_COMMIT_BYTES} fit.")
    return rows


def check_limit(limit: int) -> None:
    """Raises `Invalid` for a page of nothing: it would have no end to continue behind."""
    if limit < 1:
        raise Invalid(f"A page holds at least one record, not {limit}.")


def _check_key(table: Table[Any], key: str) -> None:
    try:
        fits = 0 < len(key if key.isascii() else key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:  # half a surrogate pair is no text
        fits = False
    if not fits:
        raise Invalid(f"A key of {table.name} is text of 1 to {MAX_KEY_BYTES} bytes.")


def _check_amounts(write: Adjust) -> None:
    if not write.add or any(abs(amount) > MAX_INTEGER for amount in write.add.values()):
        raise Invalid(f"{write.table.name}/{write.key} can't be adjusted by {write.add}.")


def sortable(value: Any) -> Sortable | None:
    """A field as an index column; a time becomes whole microseconds since 1970.

    Raises `Invalid` for a text or a number that not every engine can hold, or a time that names no zone.
    """
    kind = type(value)
    if value is None:
        return None
    if kind is str:
        if len(value) > SHORT and len(value.encode()) > MAX_INDEXED_BYTES:
            raise Invalid(f"A text of more than {MAX_INDEXED_BYTES} bytes can't be indexed.")
        return value  # type: ignore[no-any-return]
    if kind is datetime:
        return microseconds(value)
    if kind is int:
        if abs(value) > MAX_INTEGER:
            raise Invalid(f"{value} is beyond what can be stored.")
        return value  # type: ignore[no-any-return]
    if isinstance(value, StrEnum):
        return value.value
    if kind is bool:
        return int(value)
    raise TypeError(f"{kind.__name__} can't be indexed")


def microseconds(moment: datetime) -> int:
    """A time as engines keep it in columns: it sorts, compares and takes eight bytes."""
    if moment.tzinfo is None:
        raise Invalid(f"{moment} names no time zone.")
    return round(moment.timestamp() * 1_000_000)


def moment(count: int) -> datetime:
    """The time that `microseconds` counted, in UTC."""
    return EPOCH + timedelta(microseconds=count)
