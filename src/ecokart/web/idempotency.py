"""`Idempotency-Key`: a write that costs money may be sent again without happening again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import blake2b
from itertools import count
from typing import Any

from starlette.responses import Response

from ecokart.core.errors import FieldError, Invalid, Problem, Unavailable
from ecokart.core.idempotency import IdempotencyKeyInUse, remember, replay
from ecokart.core.transaction import Transaction, transact
from ecokart.web.requests import Request
from ecokart.web.responses import encode_json

LONGEST_KEY = 255
# A request is ended when its time is up. Who is killed before leaves the lock behind, and no longer than this.
LOCK_SECONDS_MORE = 2.0


class BadIdempotencyKey(Invalid):
    """This Idempotency-Key can't be used."""


async def once(
    request: Request, who: str, status: int, work: Callable[[Transaction], Awaitable[Any]]
) -> Response:
    """Run `work` in a transaction and answer what it gives as JSON, once for each key of `who`.

    Raises `IdempotencyKeyReused`, `IdempotencyKeyInUse` and `BadIdempotencyKey`.
    """
    key = request.header(b"idempotency-key")
    if b"idempotency-key" not in request.scope["header_map"]:
        return _answer(encode_json(await transact(request.ports, work)), status)
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        error = FieldError("Idempotency-Key", f"Takes 1 to {LONGEST_KEY} printable characters.")
        raise BadIdempotencyKey(errors=(error,))
    mark_id = blake2b(f"{who}\n{request.scope['path']}\n{key}".encode(), digest_size=24).hexdigest()
    fingerprint = blake2b(await request.body(), digest_size=24).hexdigest()

    attempts = count()

    async def marked(tx: Transaction) -> tuple[int, bytes, bool]:
        # A key is nearly always new, so the first attempt doesn't look: if there is a mark, it fails.
        if next(attempts) and (mark := await replay(tx, mark_id, fingerprint)):
            return mark.status, bytes(mark.answer), True
        body = encode_json(await work(tx))
        remember(tx, mark_id, fingerprint, status, body)
        return status, body, False

    # The lock only tells "still running" from "done"; that nothing happens twice is the mark's doing.
    cache, lock = request.ports.cache, f"idempotency:{mark_id}"
    locked_seconds = request.scope["timeout_seconds"] + LOCK_SECONDS_MORE
    if not await cache.add(lock, b"", ttl_seconds=locked_seconds):
        raise IdempotencyKeyInUse
    try:
        code, body, replayed = await transact(request.ports, marked)
    except Problem:
        # What is refused now (the cart is empty!) may be so because the first request has been through:
        # then its answer is this one's too.
        if (mark := await transact(request.ports, replay, mark_id, fingerprint)) is None:
            raise
        code, body, replayed = mark.status, bytes(mark.answer), True
    finally:
        with suppress(Unavailable):  # it ends by itself; the answer is what matters
            await cache.delete(lock)
    return _answer(body, code, replayed=replayed)


def _answer(body: bytes, status: int, *, replayed: bool = False) -> Response:
    headers = {"idempotent-replayed": "true"} if replayed else None
    return Response(body, status, headers, "application/json")
