"""The HTTP of a target: one request over one connection, to an address that was checked before."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpcore2
from httpcore2 import AnyIOBackend, AsyncHTTPConnection, AsyncNetworkBackend, AsyncNetworkStream

import ecokart
from ecokart.core.targets import Failure
from ecokart.engines.targets_addresses import Target
from ecokart.engines.targets_http import NotPosted, Reply

CONNECT_SECONDS = 3.0  # and as much for TLS
MOST_ADDRESSES = 3
BODY_BYTES = 4096  # of an answer, which is only looked at
BODY_SECONDS = 1.0
AGENT = f"Ecokart-Webhooks/{ecokart.__version__}"


async def send(
    called: Target,
    addresses: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    trust: ssl.SSLContext,
    limit: asyncio.Timeout,
) -> Reply:
    """Post to one of the addresses; TLS and `Host` are the name's. Raises `NotPosted`.

    `limit` bounds all until the answer's head is there; what then fails is only its body.
    """
    url = httpcore2.URL(
        scheme=called.scheme, host=called.host, port=called.port, target=called.path
    )
    connection = AsyncHTTPConnection(
        url.origin, ssl_context=trust, network_backend=Pinned(addresses)
    )
    sent = {
        "host": called.authority,
        "user-agent": AGENT,
        "content-length": str(len(body)),
        "connection": "close",
        **headers,
    }
    try:
        async with connection.stream(
            "POST",
            url,
            headers=list(sent.items()),
            content=body,
            extensions={"timeout": {"connect": CONNECT_SECONDS}},
        ) as response:
            limit.reschedule(None)
            received = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in response.headers
            }
            return Reply(response.status, received, await _beginning(response))
    except httpcore2.TimeoutException as error:
        raise TimeoutError from error
    except httpcore2.ConnectError as error:
        tls = isinstance(error.__cause__, ssl.SSLError)
        raise NotPosted(Failure.TLS if tls else Failure.NO_CONNECTION, error) from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise NotPosted(Failure.BROKEN, error) from error
    finally:
        await connection.aclose()


class Pinned(AsyncNetworkBackend):
    """Connects to the given addresses, whatever the host is called, until one is there."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses[:MOST_ADDRESSES]
        self._network = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the interface's own)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        share = timeout / len(self._addresses) if timeout else None
        for address in self._addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, share)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._network.connect_tcp(self._addresses[-1], port, share)


async def _beginning(response: httpcore2.Response) -> bytes:
    """How the body begins, as far as that comes in time."""
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in response.aiter_stream():
                body += part
                if len(body) >= BODY_BYTES:
                    break
    except (TimeoutError, httpcore2.NetworkError, httpcore2.ProtocolError):
        pass
    return body
