"""What a mail says, in blocks, and how it is told twice: as plain text and as HTML.

Both come from the same blocks, so neither says what the other doesn't. The HTML carries its styles
itself and neither pictures nor colours of its own ground: it is light where its reader is, and dark
where that is dark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from ecokart.core.ports import Letter

WIDTH = 72


class Paragraph(NamedTuple):
    """A sentence or some; line breaks are kept."""

    words: str


class Fine(NamedTuple):
    """What has to be said, but not loudly."""

    words: str


class Heading(NamedTuple):
    """What the next blocks are about."""

    words: str


class Row(NamedTuple):
    """One line of a bill."""

    label: str
    amount: str
    strong: bool = False


class Bill(NamedTuple):
    """What was bought, and below a line what it adds up to."""

    goods: Sequence[Row]
    sums: Sequence[Row]


class Facts(NamedTuple):
    """Names and what they stand for, as bank details are."""

    pairs: Sequence[tuple[str, str]]


class Link(NamedTuple):
    """The one thing to do next."""

    label: str
    url: str


class More(NamedTuple):
    """Where there is more to see."""

    label: str
    url: str


Block = Paragraph | Fine | Heading | Bill | Facts | Link | More


def letter(
    *, to: str, name: str, language: str, subject: str, blocks: Sequence[Block], sender: str
) -> Letter:
    """The mail, signed by `sender`: the shop's name, and below it who that is, a line each."""
    return Letter(
        to=to,
        name=name,
        subject=subject,
        text=_text(blocks, sender),
        html=_html(blocks, sender, language, subject),
    )


# As text.


def _text(blocks: Sequence[Block], sender: str) -> str:
    return "\n\n".join([*map(_block_as_text, blocks), f"-- \n{sender}"]) + "\n"


def _block_as_text(block: Block) -> str:
    match block:
        case Paragraph(words) | Fine(words):
            return words
        case Heading(words):
            return f"{words}\n{'-' * len(words)}"
        case Bill(goods, sums):
            rows = [*goods, *sums]
            amounts = max(len(row.amount) for row in rows)
            labels = min(max(len(row.label) for row in rows), WIDTH - amounts - 2)
            told = [_row_as_text(row, labels, amounts) for row in rows]
            told.insert(len(goods), "-" * (labels + 2 + amounts))
            return "\n".join(told)
        case Facts(pairs):
            names = max(len(name) for name, _ in pairs) + 1
            return "\n".join(f"{name + ':':<{names}} {value}" for name, value in pairs)
        case Link(label, url) | More(label, url):
            return f"{label}:\n{url}"


def _row_as_text(row: Row, labels: int, amounts: int) -> str:
    gap = max(labels - len(row.label), 0)
    return f"{row.label}{' ' * gap}  {row.amount:>{amounts}}"


# As HTML. Mail programs know styles that stand with their element, and few others.

_PAGE = """\
<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{subject}</title>
<style>:root{{color-scheme:light dark}}</style>
</head>
<body style="margin:0;padding:0">
<div style="max-width:36rem;margin:0 auto;padding:24px 16px;font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif">
{blocks}
<p style="margin:32px 0 0;padding-top:16px;border-top:1px solid rgba(128,128,128,.4);font-size:14px;opacity:.75">{sender}</p>
</div>
</body>
</html>
"""
_WORDS = {
    Paragraph: '<p style="margin:0 0 16px">{}</p>',
    Fine: '<p style="margin:0 0 16px;font-size:14px;opacity:.75">{}</p>',
    Heading: '<h2 style="margin:24px 0 8px;font:600 19px/1.2 Georgia,serif">{}</h2>',
}
_TABLE = '<table style="width:100%;margin:0 0 16px;border-collapse:collapse">{}</table>'
_ROW = (
    '<tr><td style="padding:4px 16px 4px 0;{style}">{label}</td>'
    '<td style="padding:4px 0;text-align:right;white-space:nowrap;vertical-align:top;{style}">{amount}</td></tr>'
)
# As an order's.
_NUMBER = re.compile(r"\b[A-Z0-9]+(?:-[A-Z0-9]+)+\b")
_WHOLE = r'<span style="white-space:nowrap">\g<0></span>'
_STRONG = "font-weight:600;"
_LINE = "border-top:1px solid rgba(128,128,128,.4);"
_FACT = (
    '<tr><td style="padding:2px 16px 2px 0;opacity:.75;white-space:nowrap;vertical-align:top">{}</td>'
    '<td style="padding:2px 0;vertical-align:top">{}</td></tr>'
)
_FACTS = '<table style="margin:0 0 16px;border-collapse:collapse">{}</table>'
# The one colour there is, and its text, hold on a light ground and on a dark one.
_BUTTON = (
    "display:inline-block;padding:12px 20px;border-radius:8px;background:#185437;color:#fffdfa;"
    "text-decoration:none;font-weight:600"
)
_LINKS = {
    Link: f'<p style="margin:24px 0"><a href="{{url}}" style="{_BUTTON}">{{label}}</a></p>',
    More: '<p style="margin:0 0 16px"><a href="{url}" style="color:inherit">{label}</a></p>',
}


def _html(blocks: Sequence[Block], sender: str, language: str, subject: str) -> str:
    return _PAGE.format(
        language=language,
        subject=escape(subject),
        blocks="\n".join(map(_block_as_html, blocks)),
        sender=_lines(sender),
    )


def _block_as_html(block: Block) -> str:
    match block:
        case Paragraph(words) | Fine(words) | Heading(words):
            return _WORDS[type(block)].format(_lines(words))
        case Bill(goods, sums):
            rows = [_row_as_html(row) for row in goods]
            rows += [_row_as_html(row, _LINE if row is sums[0] else "") for row in sums]
            return _TABLE.format("".join(rows))
        case Facts(pairs):
            rows = [_FACT.format(escape(name), _lines(value)) for name, value in pairs]
            return _FACTS.format("".join(rows))
        case Link(label, url) | More(label, url):
            return _LINKS[type(block)].format(label=escape(label), url=escape(url))


def _row_as_html(row: Row, style: str = "") -> str:
    style += _STRONG if row.strong else ""
    return _ROW.format(label=escape(row.label), amount=escape(row.amount), style=style)


def _lines(words: str) -> str:
    """Line breaks are kept, and no number is broken."""
    return _NUMBER.sub(_WHOLE, escape(words)).replace("\n", "<br>\n")
