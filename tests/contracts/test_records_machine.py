"""Every answer of every records engine is the model's, whatever is asked of it in whatever order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.clock import ManualClock
from tests.contracts.openers import ENGINES
from tests.contracts.records_machine import TABLES, Pair, RecordsMachine

# Runs of up to so many steps each. A server takes a few milliseconds for what SQLite does in one.
RUNS = {"sqlite": 150, "postgresql": 100, "dynamodb": 50}
STEPS = 40


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


@pytest.mark.parametrize("name", RUNS)
def test_every_answer_is_what_the_model_says(
    name: str, tmp_path: Path, clock: ManualClock, runner: asyncio.Runner
) -> None:
    """Under CI the same runs each time, so that a red build is the change's; elsewhere new ones each time.

    A failure is shrunk, and prints the steps that lead to it and how to repeat it.
    """
    engine = ENGINES[name]
    place = engine.place(tmp_path)
    pair = Pair(runner, engine.open(place, TABLES, clock), engine.open(place, TABLES, clock))

    class Machine(RecordsMachine):
        def __init__(self) -> None:
            super().__init__(pair, clock)

    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=RUNS[name],
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=os.environ.get("CI") == "true",
                print_blob=True,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    finally:
        for records in pair.instances:
            runner.run(records.close())
