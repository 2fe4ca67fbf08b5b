"""The network of the translation zoos: a U-Net of diffusers with 40,779 parameters, from pictures to pictures."""

from collections.abc import Mapping
from typing import Any, Final, cast

from torch import nn

from checkpoints.networks import SIZE, ZooNetwork
from paramgen._optional.torchvision import ensure_torchvision


def _built(config: Mapping[str, Any]) -> nn.Module:
    ensure_torchvision()
    import diffusers

    return cast(nn.Module, cast(Any, diffusers).UNet2DModel(**config))


TRANSLATOR: Final = ZooNetwork(
    spec="diffusers:UNet2DModel",
    config={
        "sample_size": SIZE,
        "in_channels": 3,
        "out_channels": 3,
        "layers_per_block": 1,
        "block_out_channels": [8, 16],
        "down_block_types": ["DownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "UpBlock2D"],
        "add_attention": False,
        "norm_num_groups": 4,
    },
    build=_built,
)


def generator(seed: int = 0) -> nn.Module:
    """Return the network with its default initialization."""
    return TRANSLATOR.initialized(seed)
