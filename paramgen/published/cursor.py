"""Reading bytes that may lie about their lengths: every step is checked against the bytes that are there."""

import struct
from enum import Enum
from typing import Any, Final, final

from paramgen.errors import ForeignError

_MAX_LINE: Final = 256  # the longest name of a class and its module, in bytes


@final
class Cursor:
    """A position in a file or in a part of one; what it hands out are views, not copies."""

    def __init__(self, data: memoryview, name: str) -> None:
        self.data = data
        self.name = name  # of the file, for messages
        self.position = 0

    @property
    def left(self) -> int:
        """How many bytes follow."""
        return len(self.data) - self.position

    def take(self, count: int) -> memoryview:
        """Return the next `count` bytes.

        Raises:
            ForeignError: There are fewer.
        """
        if count > self.left:
            raise ForeignError(
                f"{self.name} is damaged or cut short: {count:,} bytes are announced where {self.left:,} are left. "
                "Get the file again."
            )
        start = self.position
        self.position += count
        return self.data[start : self.position]

    def byte(self) -> int:
        """Return the next byte."""
        if self.position == len(self.data):
            self.take(1)
        self.position += 1
        return self.data[self.position - 1]

    def unpack(self, layout: str) -> Any:
        """Return the next number of a `struct` layout."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        """Return the text before the next line feed, and step over that.

        Raises:
            ForeignError: There is no line feed.
        """
        window = bytes(self.data[self.position : self.position + _MAX_LINE])
        end = window.find(b"\n")
        if end < 0:
            raise ForeignError(f"{self.name} is damaged: a name in it has no end. Get the file again.")
        self.position += end + 1
        return window[:end].decode("utf-8", errors="replace")

    def text(self, count: int) -> str:
        """Return the next `count` bytes as UTF-8.

        Raises:
            ForeignError: They are not there, or no UTF-8.
        """
        data = self.take(count)
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError as error:
            raise ForeignError(f"{self.name} is damaged: a text in it is not UTF-8. Get the file again.") from error


def shown(value: object) -> str:
    """Return a few printable letters for something out of a file: never its whole content, never its control codes."""
    if isinstance(value, str):
        text = value if len(value) <= 80 else f"{value[:77]}..."
        return ascii(text)
    if isinstance(value, Enum):
        return str(value.value)
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and value.bit_length() <= 64):
        return repr(value)
    return f"a {type(value).__name__}"
