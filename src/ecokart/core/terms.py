"""What the owner has decided about how the shop does business. Told by the settings, known to every room."""

from __future__ import annotations

from typing import Literal

import msgspec


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """`fulfilment`: "automatic" packs and ships by itself, "office" waits for people who do.

    `public_url` is how shoppers reach the shop, without a slash at its end.
    """

    fulfilment: Literal["automatic", "office"] = "automatic"
    public_url: str = ""
