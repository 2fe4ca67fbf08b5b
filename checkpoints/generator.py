"""The network of the translation zoo: a U-Net of diffusers small enough that thousands are trained on one processor."""

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from paramgen._torchvision import ensure_torchvision

SPEC: Final = "diffusers:UNet2DModel"
SIZE: Final = 32
CONFIG: Final[dict[str, Any]] = {
    "sample_size": SIZE,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 1,
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "add_attention": False,
    "norm_num_groups": 4,
}
"""40,779 parameters. The step of the noise schedule is always 0: what depends on it is one more bias."""


def generator(seed: int = 0) -> nn.Module:
    """Return the network with the library's own start; global random numbers stay as they are."""
    ensure_torchvision()
    import diffusers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cast(nn.Module, cast(Any, diffusers).UNet2DModel(**CONFIG))


def applied(module: nn.Module, state: Mapping[str, Tensor], pictures: Tensor) -> Tensor:
    """Return what the network of this state makes of pictures."""
    return cast(Tensor, functional_call(module, dict(state), (pictures, 0)).sample)


def targets(base: dict[str, Tensor]) -> tuple[str, ...]:
    """Return the slots that a concept moves by a product of two factors: the convolutions."""
    return tuple(name for name, tensor in base.items() if tensor.ndim == 4)


def trained(base: dict[str, Tensor]) -> tuple[str, ...]:
    """Return the slots that a concept has as a whole: biases and norms, but for those of the step, a constant."""
    return tuple(name for name, tensor in base.items() if tensor.ndim == 1 and "time_emb" not in name)
