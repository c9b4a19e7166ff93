"""A letter as a message on the wire (RFC 5322, MIME), for every engine that hands one over itself.

Put together here: the library's own way parses, folds and searches all that it is given, and took ten
times as long as all the rest of an order's confirmation.
"""

from __future__ import annotations

import quopri
import re
from datetime import datetime
from email.header import Header
from email.utils import format_datetime, formataddr, parseaddr
from functools import lru_cache
from hashlib import sha256

from ecokart.core.errors import Invalid
from ecokart.core.ports import Letter

# No line that is quoted-printable can say this (RFC 2045, 6.7), so it is in no text.
BOUNDARY = "=_ecokart"


def compose(
    letter: Letter, *, sender: str, message_id: str, at: datetime, utf8: bool = False
) -> bytes:
    """The whole message, its lines ended by CRLF; the HTML, if there is any, as the alternative to the text.

    Quoted-printable passes every mail server. Raises `Invalid` for an address that no header can hold;
    with `utf8` (RFC 6532), which only some servers take, any letter may stand before its @.
    """
    from_, domain = _from(sender)
    headers = [
        "MIME-Version: 1.0",
        f"From: {from_}",
        f"To: {mailbox(letter.to) if utf8 else _address('To', letter.name, letter.to)}",
        f"Subject: {_encoded('Subject', _one_line(letter.subject))}",
        f"Date: {format_datetime(at)}",
        f"Message-ID: <{safe_name(message_id)}@{domain}>",
        "Auto-Submitted: auto-generated",  # RFC 3834: nobody's absence need be told to a shop
    ]
    body = _text(letter.text, "plain")
    if letter.html:
        parts = [body, _text(letter.html, "html")]
        headers.append(f'Content-Type: multipart/alternative; boundary="{BOUNDARY}"')
        told = "".join(f"--{BOUNDARY}\n{part}\n" for part in parts)
        body = f"\n{told}--{BOUNDARY}--\n"
    message = "\n".join([*headers, body])
    return message.replace("\n", "\r\n").encode(errors="replace")


@lru_cache(maxsize=8)
def _from(sender: str) -> tuple[str, str]:
    """The sender as its header has it, and its domain, by which the Message-IDs are unique."""
    name, address = parseaddr(sender)
    return _address("From", name, address), address.rpartition("@")[2]


def mailbox(address: str) -> str:
    """The address with its domain as servers know it (RFC 5891). Raises `Invalid` if it can't be one."""
    local, _, domain = address.rpartition("@")
    if not (local and domain and address.isprintable()) or " " in address:
        raise Invalid(f"No mail can be addressed to {address!r}.")
    try:
        return f"{local}@{domain.encode('idna').decode('ascii')}"
    except UnicodeError as error:
        raise Invalid(f"No mail can be addressed to {address!r}.") from error


def safe_name(message_id: str) -> str:
    """The id where a header and a file can be named so; else what can, and a digest, so that no two share it."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", message_id)[:100]
    if name != message_id:
        name += "-" + sha256(message_id.encode(errors="replace")).hexdigest()[:16]
    return name


def _text(text: str, subtype: str) -> str:
    """A text as a part of its own: its headers, an empty line, and itself."""
    encoded = quopri.encodestring(text.replace("\r\n", "\n").encode(errors="replace")).decode(
        "ascii"
    )
    return (
        f'Content-Type: text/{subtype}; charset="utf-8"\n'
        f"Content-Transfer-Encoding: quoted-printable\n\n{encoded}"
    )


def _address(header: str, name: str, address: str) -> str:
    known = mailbox(address)
    if not known.isascii():
        raise Invalid(f"No mail can be addressed to {address!r}.")
    name = _one_line(name)
    if name.isascii():
        return formataddr((name, known))
    return f"{_encoded(header, name)} <{known}>"


def _encoded(header: str, text: str) -> str:
    """As RFC 2047 has it, folded; plain text stays as it is."""
    return text if text.isascii() else Header(text, "utf-8", header_name=header).encode()


def _one_line(text: str) -> str:
    """No line break, so that nothing a shopper writes becomes a header."""
    return " ".join(text.split())
