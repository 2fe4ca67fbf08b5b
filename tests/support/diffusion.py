"""A pipeline of a network with few parameters, and ways to spoil it."""

import json
from pathlib import Path

import torch
from torch import Tensor

from paramgen.diffusion.codec import WeightCodec
from paramgen.diffusion.denoiser import WeightDenoiser
from paramgen.diffusion.pipeline import WeightDiffusionPipeline
from paramgen.diffusion.prompts import KnownPrompts

TEXTS = ["sepia", "pencil sketch", "blur then brighten"]


def flow() -> object:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler()


def network() -> torch.nn.Module:
    from diffusers.models.unets.unet_2d import UNet2DModel

    torch.manual_seed(0)
    made: torch.nn.Module = UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(4,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        add_attention=False,
        norm_num_groups=2,
    )
    return made


def pipeline_of(
    base: torch.nn.Module, scheduler: object, *, components: int = 0, slots: dict[str, list[int]] | None = None
) -> WeightDiffusionPipeline:
    """Return an untrained pipeline whose denoiser answers to its words; it makes the convolutions, or what is named."""
    convolutions = {name: list(tensor.shape) for name, tensor in base.state_dict().items() if "conv" in name}
    slots = convolutions if slots is None else slots
    torch.manual_seed(1)
    codec = WeightCodec(slots, 64, components)
    updates = [{name: torch.randn(shape) for name, shape in slots.items()} for _ in range(max(2, components))]
    codec.fit(updates)
    layout = codec.layout
    denoiser = WeightDenoiser(64, list(layout.layers), list(layout.kinds), text_width=384, hidden=16, depth=1, heads=2)
    torch.nn.init.normal_(denoiser.write.weight, std=0.5)
    prompts = KnownPrompts(TEXTS)
    prompts.embeddings.copy_(torch.nn.functional.normalize(torch.randn(3, 384), dim=1))
    return WeightDiffusionPipeline(denoiser.eval(), codec, base, prompts, scheduler)


def spoil(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def states_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
