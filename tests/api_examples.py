"""The examples of the API's reference, told as one story to a real shop.

`python -m tests.api_examples` writes the answers into the files anew, after the API has changed.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from ecokart.web.openapi import example_of
from ecokart.web.responses import encode_json
from ecokart.web.routing import Access, Endpoint
from tests.clock import ManualClock
from tests.partners import new_partner
from tests.shop import Shop, running_shop

DANA = {"email": "demo@ecokart.com", "password": "demo1234"}
BASKET = {"sku": "EK-020-GREEN", "quantity": 2}
HOME = {
    "name": "Dana Demo",
    "street": "Markt 1",
    "postalCode": "5020",
    "city": "Salzburg",
    "country": "AT",
}
# What a shop draws by lot: ids, order numbers, tokens, secrets.
DRAWN = re.compile(
    r"msg_[0-9a-f]{32}_[0-9a-f]{32}|(?:user-)?[0-9a-f]{32}|EK-\d{6}-[0-9A-Z]{6}|eyJ[\w.-]+"
    r"|whsec_[\w+/=]{44}|support-[0-9a-f]{20}"
)


class Told(NamedTuple):
    """An endpoint, its example, and what a real shop answered, in the example's words for its lots."""

    endpoint: Endpoint
    example: dict[str, Any]
    answer: Any


async def tell(shop: Shop) -> AsyncIterator[Told]:
    """Send every example, as a customer who has two mugs in the cart and an address.

    It goes in the order of the routes, and who signs out does so last. An id in an example stands
    for the one that this shop drew in its place.
    """
    token = (await shop.client.post("/auth/login", json=DANA)).json()["token"]
    english, json_type = {"Accept-Language": "en"}, {"Content-Type": "application/json"}
    signed_in = english | {"Authorization": f"Bearer {token}"}
    proofs = {Access.PUBLIC: {}, Access.PARTNER: (await new_partner(shop.ports)).headers}
    await shop.client.post("/api/cart", json=BASKET, headers=signed_in)
    await shop.client.post("/api/addresses", json=HOME, headers=signed_in)
    drawn: dict[str, str] = {}
    described = [endpoint for endpoint in shop.app.router.endpoints if endpoint.gives]
    for endpoint in sorted(described, key=lambda endpoint: endpoint.path == "/auth/logout"):
        example = example_of(endpoint)
        path = {name: drawn.get(value, value) for name, value in example.get("path", {}).items()}
        answer = await shop.client.request(
            endpoint.method,
            endpoint.path.format(**path),
            params=_redrawn(example.get("query"), drawn),
            content=encode_json(_redrawn(example["body"], drawn)) if "body" in example else None,
            headers=english | json_type | proofs.get(endpoint.access, signed_in),
        )
        assert answer.status_code in endpoint.gives, answer.text
        shown = DRAWN.findall(_as_text(example.get("answer")))
        drawn |= dict(zip(shown, DRAWN.findall(answer.text), strict=False))
        text = answer.text
        if endpoint.streams:
            text = answer.text.partition("data: ")[2].partition("\n")[0]
        # The longest first: some are parts of others.
        for word, lot in sorted(drawn.items(), key=lambda pair: -len(pair[1])):
            text = text.replace(lot, word)
        given = json.loads(text, parse_float=Decimal) if text else None
        yield Told(endpoint, example, given)


def _redrawn(fields: Any, drawn: dict[str, str]) -> Any:
    """The fields with the lots of this shop in place of the example's."""
    if not isinstance(fields, dict):
        return fields
    return {n: drawn.get(v, v) if isinstance(v, str) else v for n, v in fields.items()}


def _as_text(value: Any) -> str:
    return msgspec.json.format(encode_json(value)).decode()


async def _write(folder: Path) -> None:
    written: dict[str, dict[str, Any]] = {}
    async with running_shop(folder, ManualClock()) as shop:
        async for told in tell(shop):
            package = told.endpoint.run.__module__.rpartition(".")[0]
            example = {key: part for key, part in told.example.items() if key != "answer"}
            if told.answer is not None:
                example["answer"] = told.answer
            written.setdefault(package, {})[f"{told.endpoint.method} {told.endpoint.path}"] = (
                example
            )
    for package, examples in written.items():
        path = Path(str(files(package))) / "examples.json"
        path.write_text(_as_text(examples) + "\n", "utf-8")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(_write(Path(folder)))
