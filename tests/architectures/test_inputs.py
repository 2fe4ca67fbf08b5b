"""Example inputs as they are typed, and back."""

import pytest
import torch

from paramgen.architectures.inputs import as_inputs, parse_example_input, typed


@pytest.mark.parametrize("text", ["2x3x32x32", "2x16:long", "1x4 2x8:long"])
def test_what_was_typed_is_typed_again(text: str) -> None:
    assert typed(parse_example_input(text)) == text


@pytest.mark.parametrize(
    "value", [{"ids": torch.zeros(2, 3)}, (torch.zeros(2), 1), torch.zeros(()), torch.zeros(2, dtype=torch.float16)]
)
def test_what_cannot_be_typed_is_empty(value: object) -> None:
    assert typed(as_inputs(value)) == ""
