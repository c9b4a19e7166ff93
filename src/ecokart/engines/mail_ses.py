"""Mail through Amazon's SES (API v2): signed and repeated by aiobotocore, its errors in the house's own words."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from ecokart.core.errors import Invalid, Unavailable
from ecokart.core.ports import Letter
from ecokart.engines.mail_message import compose, mailbox, safe_name

CONNECTIONS = 16
CONNECT_SECONDS = 2
TRY_SECONDS = 4
TRIES = 2  # a mail whose answer was lost may arrive twice, so hardly any
CALL_SECONDS = 10.0
KEYS = ("aws_access_key_id", "aws_secret_access_key")

# What SES says of this one mail; anything else it refuses is about the account.
REFUSES_THE_MAIL = {"BadRequestException", "MessageRejected"}
NOT_VERIFIED = "not verified"


class SesMail:
    """`Mail` through SES in the region of `ses://eu-central-1`; `?endpoint=http://…` for a local server.

    SES writes a Message-ID of its own into every mail. Ours travels as the tag `message`, which SES tells
    with each of its notifications, so that a repeat can be recognised there.
    """

    def __init__(self, url: str, sender: str, *, try_seconds: float = TRY_SECONDS) -> None:
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self._region, self._endpoint = parts.netloc, options.pop("endpoint", None)
        if not re.fullmatch(r"[a-z]+(-[a-z]+)+-\d+", self._region) or parts.path.strip("/"):
            raise ValueError("it takes ses://region, as ses://eu-central-1")
        if options:
            raise ValueError(f"it has no option {min(options)}, only endpoint")
        self._sender, self._try_seconds = sender, try_seconds
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None
        self._closed = False

    async def send(self, letter: Letter, *, message_id: str) -> None:
        now = datetime.now().astimezone()
        content = compose(letter, sender=self._sender, message_id=message_id, at=now)
        await self._call(
            "send_email",
            Destination={"ToAddresses": [mailbox(letter.to)]},
            Content={"Raw": {"Data": content}},
            EmailTags=[{"Name": "message", "Value": safe_name(message_id).replace(".", "-")}],
        )

    async def ping(self) -> str:
        account = await self._call("get_account")
        if not account.get("SendingEnabled", True):
            raise Unavailable(f"SES in {self._region} sends nothing: sending is paused there.")
        sandbox = "" if account.get("ProductionAccessEnabled", True) else ", in its sandbox"
        return f"SES in {self._region}{sandbox}"

    async def close(self) -> None:
        self._closed = True
        await self._open.aclose()

    async def _call(self, action: str, **request: Any) -> dict[str, Any]:
        """The answer to one request. Raises `Invalid` and `Unavailable`."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                client = self._client or await self._opened()
                answer: dict[str, Any] = await getattr(client, action)(**request)
                return answer
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in REFUSES_THE_MAIL and NOT_VERIFIED not in str(error):
                raise Invalid(f"SES refused the mail: {error}") from error
            raise Unavailable(f"SES refused {action}: {error}") from error
        except BotoCoreError as error:
            raise Unavailable(f"SES doesn't answer: {error}") from error
        except TimeoutError:
            raise Unavailable(
                f"SES doesn't answer within {CALL_SECONDS:.0f} s for {action}."
            ) from None

    async def _opened(self) -> Any:
        async with self._opening:
            if self._closed:
                raise Unavailable("The mail is closed.")
            if self._client is None:
                self._client = await self._open.enter_async_context(self._created())
            return self._client

    def _created(self) -> Any:
        """A client of aiobotocore. A local server takes any keys; AWS's are found by its usual chain."""
        config = AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=self._try_seconds,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": TRIES},
        )
        keys = {} if self._endpoint is None else dict.fromkeys(KEYS, "local")
        return get_session().create_client(
            "sesv2",
            region_name=self._region,
            endpoint_url=self._endpoint,
            config=config,
            **keys,
        )
