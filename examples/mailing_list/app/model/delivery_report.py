"""What a mail server says of a message it could not deliver (RFC 3464)."""

import re
from collections.abc import Iterator
from email.message import Message
from typing import Final

_ADDRESS: Final = re.compile(r"[^;]*;\s*<?([^\s<>]+@[^\s<>]+?)>?\s*$")
_PERMANENT: Final = re.compile(r"\s*5\.\d+\.\d+")


def permanently_failed(report: Message) -> list[str]:
    """Return the addresses, in lower case, that the report gives up on; often there are none.

    Read from the report's fields and not by ``salmon.bounce``, whose analyzer knows one
    recipient per report, raises KeyError for a status newer than its tables (5.7.26), and
    TypeError where there is no status at all.
    """
    return [
        found[1].lower()
        for fields in _recipient_blocks(report)
        if str(fields.get("Action", "")).strip().lower() == "failed"
        and _PERMANENT.match(str(fields.get("Status", "")))
        and (found := _ADDRESS.match(str(fields.get("Final-Recipient", ""))))
    ]


def _recipient_blocks(report: Message) -> Iterator[Message]:
    for part in report.walk():
        # A damaged report can have text where the blocks of fields should be.
        if part.get_content_type() == "message/delivery-status" and part.is_multipart():
            yield from part.get_payload()
