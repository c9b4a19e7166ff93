"""Every answer of every records engine is the model's, whatever is asked of it in whatever order."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.clock import ManualClock
from tests.contracts.driving import drive
from tests.contracts.openers import ENGINES
from tests.contracts.records_machine import TABLES, Pair, RecordsMachine

# A server takes a few milliseconds for what SQLite does in one.
RUNS = {"sqlite": 120, "postgresql": 100, "dynamodb": 75}


@pytest.mark.parametrize("name", RUNS)
def test_every_answer_is_what_the_model_says(
    name: str, tmp_path: Path, clock: ManualClock, runner: asyncio.Runner
) -> None:
    engine = ENGINES[name]
    place = engine.place(tmp_path)
    pair = Pair(runner, engine.open(place, TABLES, clock), engine.open(place, TABLES, clock))

    class Machine(RecordsMachine):
        def __init__(self) -> None:
            super().__init__(pair, clock)

    try:
        drive(Machine, RUNS[name])
    finally:
        for records in pair.instances:
            runner.run(records.close())
