"""Two hundred stories of shoppers over failing engines, and proof that a broken shop is found out."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.run import again, simulate
from tests.simulation.sabotage import FINDINGS, Sabotage

STORIES, PART = 200, 25
SEARCHED = 60  # stories in which a broken shop must be found out; most are at once


@pytest.mark.parametrize("first", range(1, STORIES, PART))
def test_every_story_ends_well(first: int) -> None:
    stories = [simulate(seed) for seed in range(first, first + PART)]
    assert {again(story.seed): story.wrong for story in stories if story.wrong} == {}
    # Something happened in them: people bought and called off, answers were lost, processes died.
    assert sum(len(story.acknowledged) for story in stories) > PART
    assert {"COMPLETED", "CANCELLED", "FAILED"} <= {end for story in stories for end in story.ends}
    assert any(story.refunds for story in stories)
    assert any(story.transfers.sure for story in stories)
    assert any(story.dead_letters for story in stories)
    assert sum(story.lost_answers for story in stories) > PART
    assert sum(story.kills for story in stories) > PART


@pytest.mark.parametrize("seed", [6, 7])
def test_the_same_seed_tells_the_same_story(seed: int) -> None:
    """In another process, too, where sets of texts have another order."""
    environ = os.environ | {"PYTHONHASHSEED": str(seed)}
    command = [sys.executable, *again(seed).split()[1:], "--tell"]
    other = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    assert other.stdout.splitlines()[:-1] == simulate(seed).happened


@pytest.mark.parametrize(
    ("sabotage", "finding"), FINDINGS.items(), ids=lambda one: getattr(one, "__name__", "")
)
def test_a_broken_shop_is_found_out(
    sabotage: Sabotage, finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    findings: list[str] = []
    for seed in range(1, SEARCHED):
        findings += simulate(seed).wrong
        if any(finding in sentence for sentence in findings):
            return
    pytest.fail(f"{SEARCHED} stories, and only this was found: {findings}")
