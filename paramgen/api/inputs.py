"""Example inputs as they are given in Python: tensors, or the text that the command line takes."""

from typing import Any


def inputs_of(example_input: Any) -> Any:
    """Return positional and keyword arguments of a forward pass; None for none."""
    if example_input is None:
        return None
    from paramgen.architectures.inputs import as_inputs, parse_example_input

    return parse_example_input(example_input) if isinstance(example_input, str) else as_inputs(example_input)
