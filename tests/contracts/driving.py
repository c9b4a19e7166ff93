"""How a state machine is run: over engines that are opened once, for all of its runs."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

STEPS = 40


def drive(machine: type[RuleBasedStateMachine], runs: int) -> None:
    """So many runs of up to so many steps.

    Under CI the same ones each time, so that a red build is the change's doing and not chance's;
    elsewhere new ones each time, so that all of us together try ever more. What fails is shrunk,
    and prints its steps and the line that repeats it.
    """
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=os.environ.get("CI") == "true",
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
