"""Untrusted text in Markdown and in a shell: what is a name stays a name, whatever characters are in it."""

import os
import re
import shlex
from collections.abc import Sequence
from typing import Any, Final

MAX_SHOWN: Final = 300
_MARKS: Final = re.compile(r"([\\`*_\[\]<>&|~#$@!]|:(?=//)|(?<=www)\.)")
_ABOVE: Final = re.compile(r"(?:(?<=^)|(?<=:)|(?<=[?&]tokenizer=))~?/(?:[^/?]*/)*(?=[^/?])")


def prose(text: str) -> str:
    """Return text that renders as itself: no emphasis, links, HTML or table cells come of it."""
    return _MARKS.sub(r"\\\1", _line(text))


def code(text: str) -> str:
    """Return text as a code span."""
    shown = _line(text) or " "
    ticks = "`" * (_longest_run(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def cell(text: str) -> str:
    """Return text as a code span of a table, where a bar would end the cell."""
    return code(text).replace("|", "\\|")


def fenced(lines: Sequence[str], language: str) -> str:
    """Return lines as a block of code that none of them can end."""
    ticks = "`" * max(3, _longest_run("\n".join(lines)) + 1)
    return "\n".join((f"{ticks}{language}", *lines, ticks))


def shell(words: Sequence[str]) -> str:
    """Return a command to type; what cannot be printed is escaped as bash reads it."""
    return " ".join(shlex.quote(word) if word.isprintable() else _ansi(word) for word in words)


def without_folders(spec: str) -> str:
    """Return a spec whose absolute path, if it has one, is shortened to its last name: `hypernet:/a/b` is `hypernet:b`.

    What stands above a file describes a machine, and means nothing elsewhere.
    """
    return _ABOVE.sub("", spec)


def _line(text: str) -> str:
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split())
    )
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _ansi(word: str) -> str:
    try:
        given = os.fsencode(word)
    except UnicodeEncodeError:  # half of a pair, which no file name holds
        given = word.encode("utf-8", "surrogatepass")
    escaped = (chr(byte) if 0x20 <= byte < 0x7F and chr(byte) not in "\\'" else f"\\x{byte:02x}" for byte in given)
    return f"$'{''.join(escaped)}'"


def number(value: Any) -> str:
    """Return a count that a record has, or a dash for anything else."""
    return f"{value:,}" if isinstance(value, int) else "-"
