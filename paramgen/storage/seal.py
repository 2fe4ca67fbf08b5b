"""The last line of a generated card: by its hash, a card that a user wrote or changed is distinguished from ours."""

import re
from hashlib import sha256
from typing import Final

CARD: Final = "README.md"
_SEAL: Final = re.compile(r"\n<!-- paramgen made this card: ([0-9a-f]{64}) -->\n\Z")


def sealed(text: str) -> str:
    """Return a card's text with the line that proves it unchanged."""
    return f"{text}\n<!-- paramgen made this card: {sha256(text.encode()).hexdigest()} -->\n"


def is_edited(text: str) -> bool:
    """Whether somebody wrote or changed the card."""
    match = _SEAL.search(text)
    return match is None or sha256(text[: match.start()].encode("utf-8", "replace")).hexdigest() != match[1]


def seal_of(file: str, digest: str) -> str:
    """Return what a card says of a picture beside it, so that another in its place is known as such."""
    return f"<!-- {file}: {digest} -->"
