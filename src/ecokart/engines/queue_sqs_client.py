"""Requests to SQS: bounded in time, number and connections, their errors in the house's own words.

aiobotocore signs, finds the credentials and repeats what a busy or an ailing server turns away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from ecokart.core.errors import Unavailable

CONNECTIONS = 64
CONNECT_SECONDS = 2
LONGEST_POLL_SECONDS = 20  # SQS's own limit
TRY_SECONDS = 4  # for an answer, beside the time it polls
TRIES = 3
BATCH = 10  # messages a request may have …
MAX_BODY_BYTES = 262_144  # … and their bodies together, as one may
RETENTION_SECONDS = 14 * 24 * 3600  # longer SQS keeps nothing
Entry = dict[str, Any]
Answer = dict[str, Any]

MAKES_THEM = "`ecokart tables create` makes what is missing"
T = TypeVar("T")
KEYS = ("aws_access_key_id", "aws_secret_access_key")

NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
# What a receipt gets whose message is gone, or in sight or in somebody else's hands again.
NOT_OURS = {
    "AWS.SimpleQueueService.MessageNotInflight",
    "MessageNotInflight",
    "InvalidParameterValue",
    "ReceiptHandleIsInvalid",
}


class NoQueue(Exception):
    """There is no queue of that name."""


class NotOurs(Exception):
    """The receipt is no good any more: its message is gone, or others may have it."""


class Received(NamedTuple):
    """A message in our hands. `receives` counts how often it was in anybody's, now included."""

    message_id: str
    body: str
    receipt: str
    receives: int
    sent_at: datetime

    @classmethod
    def of(cls, message: Answer) -> Received:
        attributes = message["Attributes"]
        return cls(
            message["MessageId"],
            message["Body"],
            message["ReceiptHandle"],
            int(attributes["ApproximateReceiveCount"]),
            datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        )


class Place:
    """Where queues are: what a `sqs://region/prefix?endpoint=…` names. Raises `ValueError`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.region, self.prefix = parts.netloc, parts.path.removeprefix("/")
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.endpoint = options.pop("endpoint", None)
        named = self.prefix.replace("-", "").replace("_", "")
        if not self.region or not (named.isascii() and named.isalnum()) or len(self.prefix) > 40:
            raise ValueError("it takes sqs://region/prefix, as sqs://eu-central-1/shop")
        if options:
            raise ValueError(f"it has no option {min(options)}, only endpoint")


class SqsClient:
    """One pool of connections to one region. The first request opens it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None
        self._closed = False
        self._urls: dict[str, str] = {}

    async def on(
        self, queue: str, action: str, *, polls_seconds: int = 0, **request: Any
    ) -> Answer:
        """The answer to a request to a queue. Raises `NotOurs` and `Unavailable`."""
        try:
            if queue not in self._urls:
                self._urls[queue] = (await self.call("get_queue_url", QueueName=queue))["QueueUrl"]
            url = self._urls[queue]
            return await self.call(action, polls_seconds=polls_seconds, QueueUrl=url, **request)
        except NoQueue:
            self._urls.pop(queue, None)
            raise Unavailable(f"SQS has no queue {queue}: {MAKES_THEM}.") from None

    async def call(self, action: str, *, polls_seconds: int = 0, **request: Any) -> Answer:
        """The answer to one request. Raises `NoQueue`, `NotOurs` and `Unavailable`.

        Sent again where no answer comes: all of them may be done twice.
        """
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(TRY_SECONDS + polls_seconds):
                    client = self._client or await self._opened()
                    send: Callable[..., Awaitable[Answer]] = getattr(client, action)
                    return await send(**request)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                if code in NO_QUEUE:
                    raise NoQueue from None
                if code in NOT_OURS and "ReceiptHandle" in request:
                    raise NotOurs from None
                raise Unavailable(f"SQS refused {action}: {error}") from error
            except BotoCoreError as error:
                raise Unavailable(f"SQS doesn't answer: {error}") from error
            except TimeoutError:
                continue
        raise Unavailable(f"SQS doesn't answer: {TRIES} times {TRY_SECONDS} seconds for {action}.")

    async def batch(self, action: str, queue: str, entries: Sequence[Entry]) -> None:
        """A request for every ten entries, all at once. What fails at the server's fault is sent again.

        What it refuses for good is a receipt that is no good any more, and no matter. Raises
        `Unavailable` where an entry may not have been taken.
        """
        await together(self._batch(action, queue, part) for part in _packed(entries))

    async def receive(
        self, queue: str, limit: int, polls_seconds: int, *, hide_seconds: int
    ) -> list[Received]:
        """Up to ten messages, out of others' sight for that long, waiting that long for the first."""
        answer = await self.on(
            queue,
            "receive_message",
            polls_seconds=polls_seconds,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=polls_seconds,
            VisibilityTimeout=hide_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
        return [Received.of(message) for message in answer.get("Messages", [])]

    async def count(self, queue: str) -> int:
        """About how many messages there are, in hand, delayed or waiting."""
        names = [f"ApproximateNumberOfMessages{part}" for part in ("", "NotVisible", "Delayed")]
        answer = await self.on(queue, "get_queue_attributes", AttributeNames=names)
        return sum(map(int, answer["Attributes"].values()))

    async def names(self, start: str) -> list[str]:
        """The names of the queues that begin so."""
        names: list[str] = []
        request: dict[str, Any] = {"QueueNamePrefix": start, "MaxResults": 1000}
        while True:
            answer = await self.call("list_queues", **request)
            names += [url.rsplit("/", 1)[1] for url in answer.get("QueueUrls", [])]
            if not (token := answer.get("NextToken")):
                return names
            request["NextToken"] = token

    async def create(
        self, queue: str, attributes: Mapping[str, str], tell: Callable[[str], None]
    ) -> str:
        """Make the queue, or set it right; gives back its ARN. Raises `Unavailable`."""
        attributes = {"MessageRetentionPeriod": str(RETENTION_SECONDS), **attributes}
        try:
            await self.call("get_queue_url", QueueName=queue)
        except NoQueue:
            await self.call("create_queue", QueueName=queue, Attributes=attributes)
            tell(f"made queue {queue}")
        else:
            await self.on(queue, "set_queue_attributes", Attributes=attributes)
            tell(f"queue {queue} was there")
        answer = await self.on(queue, "get_queue_attributes", AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    async def close(self) -> None:
        self._closed = True
        await self._open.aclose()

    async def _batch(self, action: str, queue: str, entries: Sequence[Entry]) -> None:
        left = {str(number): entry for number, entry in enumerate(entries)}
        for _ in range(TRIES):
            request = [{"Id": number, **entry} for number, entry in left.items()]
            answer = await self.on(queue, action, Entries=request)
            refused = [fail for fail in answer.get("Failed", []) if fail["Code"] not in NOT_OURS]
            left = {fail["Id"]: left[fail["Id"]] for fail in refused}
            if not left:
                return
        why = refused[0].get("Message") or refused[0]["Code"]
        raise Unavailable(f"SQS refused {action}: {why}")

    async def _opened(self) -> Any:
        async with self._opening:
            if self._closed:
                raise Unavailable("The queue is closed.")
            if self._client is None:
                self._client = await self._open.enter_async_context(self._created())
            return self._client

    def _created(self) -> Any:
        """A client of aiobotocore. Local servers take any keys; AWS's are found by its usual chain."""
        config = AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=LONGEST_POLL_SECONDS + TRY_SECONDS,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": TRIES},
        )
        keys = {} if self.place.endpoint is None else dict.fromkeys(KEYS, "local")
        return get_session().create_client(
            "sqs",
            region_name=self.place.region,
            endpoint_url=self.place.endpoint,
            config=config,
            **keys,
        )


async def together(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """All at once; the first failure is raised when all have ended."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[T], results)


def _packed(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """In batches of ten that are no larger together than one message may be."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        length = len(entry.get("MessageBody", "").encode())
        if len(batch) == BATCH or size + length > MAX_BODY_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += length
    if batch:
        yield batch
