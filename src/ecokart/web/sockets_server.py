"""uvicorn's WebSocket protocol, with what a public server needs beside it.

Imported only where the shop is served: it loads the library that reads the frames.
"""

from __future__ import annotations

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ecokart.web.sockets import ABORT, MAX_FRAME_BYTES

# A client that doesn't answer a ping in time is gone, though its connection may look open for hours.
PING_SECONDS = 20.0
# What uvicorn is told. Compression would cost each idle connection more than all the rest together.
OPTIONS: dict[str, Any] = {
    "ws_max_size": MAX_FRAME_BYTES,
    "ws_ping_interval": PING_SECONDS,
    "ws_ping_timeout": PING_SECONDS,
    "ws_per_message_deflate": False,
}


class Protocol(WebSocketsSansIOProtocol):
    """The same, and a connection can be ended at once, whatever it has unsent.

    A closed transport waits until its buffer is empty, which one that never reads could make for ever.
    Its own lines are not written: that of a handshake has the query in it, and so the token, and
    whoever sends no UTF-8 could fill the log.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = _QUIET

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[ABORT] = self._abort
        await super().run_asgi()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


_QUIET = logging.getLogger("ecokart.sockets")
_QUIET.setLevel(logging.CRITICAL)
