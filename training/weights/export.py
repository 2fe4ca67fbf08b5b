"""Export a run's averaged denoiser as a pipeline, with its large parts in bfloat16."""

from pathlib import Path
from typing import Any

import torch

from paramgen.architectures import resolve
from paramgen.diffusion.codec import WeightCodec
from paramgen.diffusion.pipeline import WeightDiffusionPipeline
from paramgen.diffusion.prompts import KnownPrompts
from paramgen.errors import OptionError
from paramgen.storage.folder import transaction
from paramgen.zoo import Zoo
from training import checkpoint
from training.loop import config_in
from training.weights.config import Denoiser
from training.weights.loop import PARTS, denoiser_of
from training.weights.noising import scheduler_of


def export(run: Path, out: Path, zoo: Path) -> None:
    """Write the pipeline that a run's folder describes, with the base checkpoint of its zoo."""
    given = config_in(run)
    codec = WeightCodec.from_pretrained(run / PARTS / "codec")
    prompts = KnownPrompts.from_pretrained(run / PARTS / "prompts")
    denoiser = denoiser_of(Denoiser(**given["denoiser"]), codec.layout)
    denoiser.load_state_dict(checkpoint.average(run))
    opened = Zoo.open(zoo)
    pipeline = WeightDiffusionPipeline(
        denoiser=narrow(denoiser),
        codec=narrow(codec, only="directions"),
        base=base_of(opened),
        prompts=narrow(prompts),
        scheduler=scheduler_of(given["prediction"]),
        output=opened.layout.output,
    )
    with transaction(out, overwrite=False) as partial:
        pipeline.save_pretrained(partial, safe_serialization=True)
        for file in partial.rglob("*.safetensors"):
            file.chmod(0o644)  # safetensors writes files that only their owner can read


def narrow(part: Any, *, only: str = "") -> Any:
    """Return a part in bfloat16, or the one of its tensors that is named."""
    for name, parameter in part.named_parameters():
        if name == only or not only:
            parameter.data = parameter.data.to(torch.bfloat16)
    return part


def base_of(zoo: Zoo) -> Any:
    """Return the network with the weights of the zoo's base checkpoint."""
    if not zoo.base:
        raise OptionError(f"The zoo {str(zoo.folder)!r} has no base checkpoint to update. Type one of train-zoo.")
    module = resolve(zoo.layout.spec, zoo.layout.config).module
    assert module is not None
    module.load_state_dict(zoo.base_state, assign=True)
    return module
