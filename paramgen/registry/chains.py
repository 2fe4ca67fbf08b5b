"""Chains: an initializer and the modifiers that change what it makes, in one spec, `he|lowrank?rank=8|scale:0.5`."""

import re
from collections.abc import Sequence
from typing import Final

from paramgen.errors import OptionError, one_line

THEN: Final = "|"
"""Between the parts of a chain; within double quotes, as those of a prompt, it is a character like any other."""

_PART: Final = re.compile(r'(?:[^|"]|"(?:[^"\\]|\\.)*(?:"|$))*')


def split_chain(spec: str) -> tuple[str, tuple[str, ...]]:
    """Return the initializer's spec and those of the modifiers behind it.

    >>> split_chain("he|lowrank?rank=8|scale:0.5")
    ('he', ('lowrank?rank=8', 'scale:0.5'))
    """
    parts: list[str] = []
    at = 0
    while at <= len(spec):
        found = _PART.match(spec, at)
        end = len(spec) if found is None else found.end()
        parts.append(spec[at:end])
        at = end + 1
    first, *others = parts
    return first, tuple(others)


def join_chain(init: str, then: Sequence[str]) -> str:
    """Return one spec of an initializer and modifiers; the inverse of `split_chain`.

    Raises:
        OptionError: A modifier is no text, or several in one.

    """
    for modifier in then:
        if not isinstance(modifier, str) or not modifier or split_chain(modifier)[1]:
            raise OptionError(
                f"A modifier is {one_line(repr(modifier))}. Allowed: a name of `paramgen list modifiers` with options. "
                "Type: --then scale:0.5"
            )
    return THEN.join((init, *then))
