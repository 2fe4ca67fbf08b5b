"""Small data whose class is its brightness, and a small language model."""

from typing import Any

import pytest
import torch

from paramgen.comparison import Pixels

GPT2: dict[str, Any] = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 32, "vocab_size": 256}


@pytest.fixture(scope="session")
def arrays() -> tuple[Pixels, Pixels]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 4
    pixels = torch.randint(0, 60, (80, 3, 8, 8), generator=generator) + 60 * labels.view(-1, 1, 1, 1)
    given = Pixels(pixels=pixels.to(torch.uint8), labels=labels)
    return given, given


@pytest.fixture
def gpt2() -> dict[str, Any]:
    return dict(GPT2)
