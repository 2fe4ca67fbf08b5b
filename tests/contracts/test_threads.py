"""The same bytes on any number of threads, for every start that comes with paramgen."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import paramgen
from paramgen.initializers import initializers

NEEDS_A_SOURCE = ("average", "diffusion", "inherit", "weight_selection", "grow", "transplant", "prepared")
NEEDS_ANOTHER_NETWORK = ("natural", "maxout", "s4d", "poincare", "arithmetic", "ibp", "virgo", "unigram")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "name", [name for name in initializers.names() if name not in NEEDS_A_SOURCE + NEEDS_ANOTHER_NETWORK]
)
def test_threads_change_nothing(name: str) -> None:
    shape = {"depth": 1, "img_size": 32, "patch_size": 8, "num_classes": 300}

    def drawn(threads: int) -> dict[str, torch.Tensor]:
        torch.set_num_threads(threads)
        state = paramgen.predict("timm:vit_small_patch16_224", init=name, overrides=shape).state_dict()
        assert torch.get_num_threads() == threads
        return state

    one, four = drawn(1), drawn(4)
    assert [slot for slot, value in one.items() if not torch.equal(value, four[slot])] == []


def test_threads_change_nothing_that_is_denoised(pipeline_folder: Path) -> None:
    def drawn(threads: int) -> dict[str, torch.Tensor]:
        torch.set_num_threads(threads)
        return paramgen.predict(init=f"diffusion:{pipeline_folder}", prompt="sepia").state_dict()

    one, four = drawn(1), drawn(4)
    assert [slot for slot, value in one.items() if not torch.equal(value, four[slot])] == []
