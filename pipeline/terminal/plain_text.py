"""Plain text for a terminal: names from corpora and settings cannot steer it."""

import re

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def plain_text(text: str) -> str:
    """`text` with control characters as Python writes them; line breaks stay."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
