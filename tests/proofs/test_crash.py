"""No loss: a shop under load, killed twenty times. `python -m bench.crash --kills 200` for more."""

from __future__ import annotations

from random import randrange

import pytest

from bench.crash import survive


@pytest.mark.timeout(240)
async def test_twenty_kills_lose_nothing() -> None:
    seed = randrange(10**6)
    ordeal = await survive(20, seed)
    assert ordeal.wrong == [], f"python -m bench.crash --kills 20 --seed {seed}"
    assert ordeal.kills == 20
    assert ordeal.unanswered, "no kill met an order under way"
    assert len(ordeal.orders) > 100
