"""One check that every configuration of a hypernet shares."""

from paramgen.errors import HypernetError


def within(name: str, value: int | float, least: int | float, most: int | float) -> None:
    """Raise a `HypernetError` unless `value` lies between the two, both included."""
    if not least <= value <= most:
        raise HypernetError(f"{name} is {value}; allowed are {least} to {most}.")
