"""The colours' contrast by WCAG 2: AAA (7:1) for text, 3:1 for edges and marks, light and dark."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = (files("ecokart.web") / "static" / "shop.css").read_text("utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
)
GROUNDS = ("ground", "paper", "sunken", "green-soft", "clay-soft")


def _luminance(colour: str) -> float:
    parts = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", GROUNDS)
def test_what_is_written_can_be_read(tokens: dict[str, str], ground: str) -> None:
    for text in ("ink", "ink-soft", "green", "clay"):
        assert contrast(tokens[text], tokens[ground]) >= 7, f"{text} on {ground}"
    assert contrast(tokens["edge"], tokens[ground]) >= 3, f"edge on {ground}"


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
def test_buttons_can_be_read(tokens: dict[str, str]) -> None:
    assert contrast(tokens["on-green"], tokens["green"]) >= 7
    assert contrast(tokens["on-green"], tokens["green-deep"]) >= 7


def test_both_schemes_have_the_same_colours() -> None:
    assert set(LIGHT) == set(DARK)


def test_colours_are_named_once() -> None:
    """Nobody writes a colour of their own: a page looks right in the dark because all go by name."""
    rest = STYLE[STYLE.index("/* Elements */") :]
    assert not re.findall(r":[^;{}]*#[0-9a-fA-F]{3,8}\b[^;{}]*;", rest)
