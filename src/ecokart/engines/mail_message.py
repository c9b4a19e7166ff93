"""A letter as a message on the wire (RFC 5322, MIME), for every engine that hands one over itself.

Made with the library's plain policy: its newer one parses each header it is given, which cost fifteen times
as much as all the rest of an order's confirmation.
"""

from __future__ import annotations

import quopri
import re
from datetime import datetime
from email.header import Header
from email.message import Message
from email.policy import compat32
from email.utils import format_datetime, formataddr, parseaddr
from hashlib import sha256

from ecokart.core.errors import Invalid
from ecokart.core.ports import Letter

_POLICY = compat32.clone(linesep="\r\n")


def compose(
    letter: Letter, *, sender: str, message_id: str, at: datetime, utf8: bool = False
) -> bytes:
    """The whole message, its lines ended by CRLF; the HTML, if there is any, as the alternative to the text.

    Quoted-printable passes every mail server. Raises `Invalid` for an address that no header can hold;
    with `utf8` (RFC 6532), which only some servers take, any letter may stand before its @.
    """
    message = _text(letter.text, "plain")
    if letter.html:
        message = _either(message, _text(letter.html, "html"))
    message["MIME-Version"] = "1.0"
    message["From"] = _address(*parseaddr(sender))
    message["To"] = _address(letter.name, letter.to, utf8=utf8)
    message["Subject"] = _encoded(_one_line(letter.subject))
    message["Date"] = format_datetime(at)
    domain = parseaddr(sender)[1].rpartition("@")[2]
    message["Message-ID"] = f"<{safe_name(message_id)}@{domain}>"
    message["Auto-Submitted"] = (
        "auto-generated"  # RFC 3834: nobody's absence need be told to a shop
    )
    return message.as_bytes()


def mailbox(address: str) -> str:
    """The address with its domain as servers know it (RFC 5891). Raises `Invalid` if it can't be one."""
    local, _, domain = address.rpartition("@")
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


def _text(text: str, subtype: str) -> Message:
    part: Message = Message(policy=_POLICY)
    part["Content-Type"] = f'text/{subtype}; charset="utf-8"'
    part["Content-Transfer-Encoding"] = "quoted-printable"
    part.set_payload(quopri.encodestring(text.encode(errors="replace")).decode("ascii"))
    return part


def _either(*parts: Message) -> Message:
    message: Message = Message(policy=_POLICY)
    message["Content-Type"] = "multipart/alternative"
    message.set_payload(list(parts))
    return message


def _encoded(text: str) -> str:
    """As RFC 2047 has it, folded; plain text stays as it is."""
    return text if text.isascii() else Header(text, "utf-8", header_name="Subject").encode()


def _address(name: str, address: str, *, utf8: bool = False) -> str:
    known = mailbox(address)
    if utf8:
        # Bytes above ASCII go through this policy untouched if they come as surrogates.
        return known.encode(errors="replace").decode("ascii", "surrogateescape")
    try:
        return formataddr((_one_line(name), known))
    except UnicodeError as error:
        raise Invalid(f"No mail can be addressed to {address!r}.") from error


def _one_line(text: str) -> str:
    """No line break, so that nothing a shopper writes becomes a header."""
    return " ".join(text.split())
