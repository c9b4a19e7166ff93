"""Checks of our own for Schemathesis, which loads this file."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, Response


@schemathesis.check
def what_fits_is_never_invalid(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """A request that fits the schema may meet a rule of the shop, but is never called malformed.

    It stands for the built-in `positive_data_acceptance`, which knows statuses only: 422 is also
    the answer where a cursor isn't ours (`bad_cursor`) or a guest gave no e-mail (`email_needed`).
    And JSON Schema counts 5.0 among the integers, while we take it for a slip.
    """
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if not positive or response.status_code != 422:
        return
    document: dict[str, Any] = response.json()
    assert document["code"] != "invalid" or _has_decimal_quantity(case.body), document


def _has_decimal_quantity(body: Any) -> bool:
    items = body.get("items") if isinstance(body, dict) else None
    places = [body, *(items if isinstance(items, list) else [])]
    return any(isinstance(p, dict) and isinstance(p.get("quantity"), float) for p in places)
