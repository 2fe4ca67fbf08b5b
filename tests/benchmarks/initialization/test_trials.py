"""Trials of what `auto` takes: which networks there are, and that those which keep the library's are not trained."""

from pathlib import Path

import pytest
import torch

from benchmarks.initialization.real_networks import network_named
from benchmarks.initialization.trials import NAMES, row_of
from benchmarks.initialization.vision import DataSet
from paramgen.comparison import Pixels, Protocol
from paramgen.errors import OptionError


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("timm:test_vit", "timm test_vit(img_size=32, patch_size=8)"),
        ("torchvision:mnasnet0_5", "torchvision mnasnet0_5()"),
    ],
)
def test_networks_take_small_images(name: str, call: str) -> None:
    assert network_named(name).call == call
    assert network_named(name).factory(4)().eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 4)


@pytest.mark.parametrize("name", ["transformers:vit", "timm:no_such_network"])
def test_others_are_one_line(name: str) -> None:
    with pytest.raises(OptionError, match=r"neither timm nor torchvision|timm builds no"):
        network_named(name)


def test_where_auto_keeps_the_librarys_nothing_is_trained(tmp_path: Path) -> None:
    images = Pixels(pixels=torch.zeros(8, 3, 32, 32, dtype=torch.uint8), labels=torch.arange(8) % 4)
    protocol = Protocol(steps=1, batch=4, seeds=1, lr=(1e-3,), evaluations=1, test_examples=8)
    row = row_of(DataSet.of("zeros", images, images), "torchvision:densenet121", protocol, out=tmp_path)
    assert (row["auto"], row["family"]) == ("library", "other") and "initializations" not in row
    assert not list(tmp_path.iterdir()) and len(set(NAMES)) == len(NAMES)
