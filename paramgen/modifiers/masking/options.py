"""What the options of modifiers must be, each with what to type instead."""

from collections.abc import Sequence
from typing import TypeGuard

from paramgen.errors import OptionError, one_line


def is_number(value: object) -> TypeGuard[float]:
    """Whether an option's value is a number, which a truth value is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_choice(modifier: str, name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise OptionError unless the value is one of those allowed."""
    if value not in allowed:
        raise OptionError(
            f"{name} is {one_line(repr(value))}. Allowed: {', '.join(allowed)}. "
            f"Type: --then '{modifier}?{name}={allowed[0]}'"
        )


def check_share(modifier: str, name: str, value: object) -> None:
    """Raise OptionError unless the value is a share: above 0 and at most 1."""
    if not is_number(value) or not 0 < value <= 1:
        raise OptionError(
            f"{name} is {one_line(repr(value))}. Allowed: a number above 0, up to 1. "
            f"Type: --then '{modifier}?{name}=0.1'"
        )


def check_count(modifier: str, name: str, value: object, *, most: int) -> None:
    """Raise OptionError unless the value is a whole number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise OptionError(
            f"{name} is {one_line(repr(value))}. Allowed: 1 to {most:,}. "
            f"Type: --then '{modifier}?{name}={min(100, most)}'"
        )


def check_data(criterion: str, data: object, *, supervised: bool, example: str) -> None:
    """Raise OptionError where a criterion needs labelled images and none are named, or some are without need.

    Args:
        criterion: Its name.
        data: The option's value.
        supervised: Whether it needs labels.
        example: What may be typed.

    """
    if not isinstance(data, str) or (supervised and not data):
        raise OptionError(
            f"{criterion} needs images and their classes; data is {one_line(repr(data))}. Allowed: a folder that holds "
            f"a folder of images for each class. Type: --then '{example}'"
        )
    if data and not supervised:
        raise OptionError(f"{criterion} looks at no data. Leave out: data={one_line(data)}")
