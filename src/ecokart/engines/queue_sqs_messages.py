"""What is written into a message of SQS, and read from one."""

from __future__ import annotations

import logging
from datetime import datetime

import msgspec

from ecokart.core.errors import TooLarge
from ecokart.core.ports import Job
from ecokart.engines.queue_sqs_client import MAX_BODY_BYTES


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job, and when it was buried if it was; then its attempts and its error are the final ones."""

    job: Job
    buried_at: datetime | None = None


log = logging.getLogger("ecokart.queue")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


def body_of(message: Message) -> str:
    """The text of a message. Raises `TooLarge`."""
    # Inside JSON's texts only: two characters that SQS takes nowhere, and JSON may write otherwise.
    body = _encode(message).decode().replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
    if len(body.encode()) > MAX_BODY_BYTES:
        raise TooLarge(f"The job {message.job.id} is larger than the 256 KB that SQS takes.")
    return body


def message_in(body: str) -> Message | None:
    """The message again; None for what we never wrote. SQS takes that to the dead letters in time."""
    try:
        return _decode(body)
    except msgspec.DecodeError:
        log.warning("SQS holds a message that is no job of ours")
        return None
