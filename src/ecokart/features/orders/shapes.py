"""The shapes that an order's record had in earlier releases, and how each becomes the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _owned_by_nobody(order: dict[str, Any]) -> dict[str, Any]:
    """In shape 1 nobody's orders had "" for an owner, and were indexed by it."""
    return order | {"owner": order["owner"] or None}


def _with_stages(order: dict[str, Any]) -> dict[str, Any]:
    """In shape 2 an order had the API's status alone, and was paid by an invoice in the parcel.

    Nothing was logged of it, so its first fact is still to come.
    """
    stages = {"PENDING": "PLACED", "PROCESSING": "AUTHORISED"}

    def stage(status: str) -> str:
        return stages.get(status, status)

    steps = [{"stage": stage(step["status"]), "at": step["at"]} for step in order["steps"]]
    nothing = [0, order["total"][1]]
    # Those of elsewhere were paid there.
    came = {"captured": order["total"], "state": "CAPTURED"} if order["source"] != "shop" else {}
    payment = {"captured": nothing, "refunded": nothing} | came
    return order | {
        "stage": stage(order["status"]),
        "steps": steps,
        "payment": payment,
        "restocked": order["status"] == "CANCELLED",
        "facts": 0,
    }


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _owned_by_nobody,
    2: _with_stages,
}
