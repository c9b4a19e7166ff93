"""Requests to DynamoDB: signed, bounded in time and number, and sent again where that harms nothing.

aiodynamo signs, finds the credentials and names the errors; the expressions are ours, since it can't
ask a failed condition for the item that it met. Retries are ours too: a write whose answer was lost
must be told from one that was refused.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiodynamo import errors
from aiodynamo.client import Client
from aiodynamo.credentials import (
    ChainCredentials,
    Credentials,
    EnvironmentCredentials,
    FileCredentials,
    Key,
    StaticCredentials,
)
from aiodynamo.http.aiohttp import AIOHTTP
from aiodynamo.http.types import Request, Response
from aiodynamo.models import StaticDelayRetry
from yarl import URL

from ecokart.core.errors import Unavailable
from ecokart.core.records import CommitTooLarge, OutcomeUnknown

CONNECTIONS = 64
LONG_BYTES = 1 << 19
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 4.0
PATIENCE_SECONDS = 10.0  # for one request with all its retries
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.8

# An item or a key as DynamoDB's JSON has it: {"v": {"N": "7"}}.
Item = dict[str, dict[str, Any]]
Answer = dict[str, Any]
# Hears of every request: what it did and the capacity it consumed, a table each.
Meter = Callable[[str, list[Answer]], None]

# The server is busy with others, or with this very request; it has not applied this try.
BUSY = (
    errors.Throttled,
    errors.ProvisionedThroughputExceeded,
    errors.RequestLimitExceeded,
    errors.TransactionConflict,
    errors.ExpiredToken,
)
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
# aiodynamo's own loop ends after one try.
ONE_TRY = StaticDelayRetry(time_limit_secs=-1, delay=0)


class Cancelled(Exception):
    """A write that was not applied. `reasons` are a code and the item that was met, one an operation.

    `lost` says that an earlier try of it got no answer.
    """

    def __init__(self, reasons: list[tuple[str, Item]], *, lost: bool) -> None:
        super().__init__(", ".join(code for code, _ in reasons))
        self.reasons, self.lost = reasons, lost


class Place:
    """Where tables are: what a `dynamodb://region/prefix?endpoint=…` names. Raises `ValueError`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self.region, self.prefix = parts.netloc, parts.path.removeprefix("/")
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        endpoint = options.pop("endpoint", "")
        if not self.region or not self.prefix.replace("-", "").replace("_", "").isalnum():
            raise ValueError("it takes dynamodb://region/prefix, as dynamodb://eu-central-1/shop")
        if options:
            raise ValueError(f"it has no option {min(options)}, only endpoint")
        self.endpoint = URL(endpoint) if endpoint else None

    def credentials(self) -> Credentials:
        """By AWS's usual chain; a local server takes any, so that none have to be made up for it."""
        if self.endpoint is None:
            return Credentials.auto()
        local = StaticCredentials(Key("local", "local"))
        return ChainCredentials([EnvironmentCredentials(), FileCredentials(), local])


class DynamoClient:
    """One pool of connections to one region. The first request opens it."""

    def __init__(self, place: Place, meter: Meter | None = None) -> None:
        self.place = place
        self._meter = meter
        self._closed = False
        self._session: aiohttp.ClientSession | None = None
        self._client: Client | None = None

    async def read(self, action: str, **payload: Any) -> Answer:
        """The answer to a request that changes nothing. Raises `Unavailable`."""
        return await self._send(action, payload, writes=False)

    async def write(self, action: str, **payload: Any) -> Answer:
        """Send a write that may be repeated as it is: by its token, its condition or its meaning.

        Raises `Cancelled` and `Unavailable` where nothing was applied, and `OutcomeUnknown`.
        """
        return await self._send(action, payload, writes=True)

    async def close(self) -> None:
        self._closed = True
        if self._session:
            await self._session.close()

    async def _send(self, action: str, payload: Mapping[str, Any], *, writes: bool) -> Answer:
        if self._meter:
            payload = {**payload, "ReturnConsumedCapacity": "INDEXES"}
        pauses = Pauses(PATIENCE_SECONDS)
        lost = False
        while True:
            try:
                answer = await self._opened().send_request(action=action, payload=payload)
            except (TimeoutError, aiohttp.ClientError, errors.InternalDynamoError) as error:
                failure: Exception = error
                lost = lost or not isinstance(error, NEVER_SENT)
            except (errors.TransactionInProgress, errors.ServiceUnavailable) as error:
                failure, lost = error, True
            except BUSY as error:
                failure = error
            except errors.AIODynamoError as error:
                failure = self._retryable(error, lost or not writes)
                lost = lost or isinstance(error, errors.UnknownError)
            else:
                self._count(action, answer)
                return answer
            if not await pauses.next():
                why = f"DynamoDB gives no answer: {type(failure).__name__}."
                raise (OutcomeUnknown if lost and writes else Unavailable)(why) from failure

    def _retryable(self, error: errors.AIODynamoError, lost: bool) -> Exception:
        """What is worth another try; raises what isn't, in our own words.

        Where a try was lost (or only reads), others in the way are waited for, and not told.
        """
        if isinstance(error, errors.ConditionalCheckFailed):
            raise Cancelled([_reason(error.args[0])], lost=lost) from None
        if isinstance(error, errors.TransactionCanceled):
            reasons = [_reason(reason) for reason in error.body["CancellationReasons"]]
            if lost and all(code != CONDITION for code, _ in reasons):
                return error  # perhaps it met its own first try: only the same request may follow
            raise Cancelled(reasons, lost=lost) from None
        if isinstance(error, errors.UnknownError) and error.status >= 500:
            return error
        if isinstance(error, errors.TableNotFound) or "the specified index" in str(error):
            raise Unavailable(
                f"A table or an index of {self.place.url} is missing; `ecokart tables create` makes it."
            ) from error
        if isinstance(error, errors.NoCredentialsFound):
            raise Unavailable("There are no AWS credentials for DynamoDB.") from None
        if "Item size" in str(error) or "item size" in str(error):
            raise CommitTooLarge(_message(error)) from None
        raise Unavailable(f"DynamoDB refuses this: {_message(error)}") from error

    def _opened(self) -> Client:
        if self._closed:
            raise Unavailable("The records are closed.")
        if self._client is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(
                    total=PATIENCE_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS
                ),
            )
            self._client = Client(
                _Http(self._session),
                self.place.credentials(),
                self.place.region,
                self.place.endpoint,
                throttle_config=ONE_TRY,
            )
        return self._client

    def _count(self, action: str, answer: Answer) -> None:
        if self._meter:
            consumed = answer.get("ConsumedCapacity", [])
            self._meter(action, consumed if isinstance(consumed, list) else [consumed])


class _Http(AIOHTTP):
    """aiohttp wants a long body as a file, to send it in parts with the loop free between them."""

    async def __call__(self, request: Request) -> Response:
        if request.body and len(request.body) > LONG_BYTES:
            request = replace(request, body=cast("bytes", io.BytesIO(request.body)))
        return await super().__call__(request)


CONDITION = "ConditionalCheckFailed"


class Pauses:
    """Back-off with full jitter, until the patience is over."""

    def __init__(self, patience_seconds: float) -> None:
        self._ends = asyncio.get_running_loop().time() + patience_seconds
        self._ceiling = FIRST_PAUSE_SECONDS

    async def next(self) -> bool:
        """Pause before another try; False if there shall be none."""
        pause = self._ceiling * random.random()  # noqa: S311 (jitter, not a secret)
        self._ceiling = min(self._ceiling * 2, LONGEST_PAUSE_SECONDS)
        if asyncio.get_running_loop().time() + pause > self._ends:
            return False
        await asyncio.sleep(pause)
        return True


def _reason(told: Mapping[str, Any]) -> tuple[str, Item]:
    return told.get("Code", CONDITION), told.get("Item", {})


def _message(error: errors.AIODynamoError) -> str:
    told = error.args[0] if error.args else ""
    if isinstance(told, dict):
        return str(told.get("message") or told.get("Message") or told)
    return str(told) or type(error).__name__
