"""No loss: a shop under load, killed again and again, on every engine. `python -m bench.crash` for more."""

from __future__ import annotations

from random import randrange

import pytest

from bench.crash import Ordeal, survive

# By engine: kills, and orders that must at least have been acknowledged meanwhile (DynamoDB Local is slow).
SIZES = {"sqlite": (20, 100), "postgresql": (8, 100), "dynamodb": (6, 20)}
CLIENTS = 8


@pytest.mark.timeout(240)
@pytest.mark.parametrize("engine", SIZES)
async def test_kills_lose_nothing(engine: str) -> None:
    kills, orders = SIZES[engine]
    seed = randrange(10**6)
    ordeal = await survive(kills, seed, CLIENTS, engine=engine)
    sizes = f"--kills {kills} --clients {CLIENTS} --engine {engine}"
    assert ordeal.wrong == [], f"python -m bench.crash {sizes} --seed {seed}"
    assert ordeal.kills == kills
    assert_that_it_was_hard(ordeal, orders)


@pytest.mark.timeout(240)
async def test_neither_do_those_of_one_of_four_processes_or_of_the_database_itself() -> None:
    """It comes back by itself: every client has orders acknowledged again after each of its kills."""
    seed = randrange(10**6)
    ordeal = await survive(12, seed, engine="postgresql", count=4, kill_database=True)
    sizes = "--kills 12 --engine postgresql --processes 4 --kill-database"
    assert ordeal.wrong == [], f"python -m bench.crash {sizes} --seed {seed}"
    assert len(ordeal.back_seconds) == 6
    assert_that_it_was_hard(ordeal, 100)


def assert_that_it_was_hard(ordeal: Ordeal, orders: int) -> None:
    """A proof that met nothing proves nothing."""
    assert ordeal.unanswered, "no kill met an order under way"
    assert len(ordeal.orders) > orders
