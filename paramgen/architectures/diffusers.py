"""diffusers: `diffusers:UNet2DModel`. The folder is one that the class's own `from_pretrained` reads."""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast, final

import torch
from torch import Tensor, nn

from paramgen._torchvision import ensure_torchvision
from paramgen.architectures import (
    Architecture,
    ArchitectureSource,
    Inputs,
    Layout,
    Loaded,
    Request,
    built,
    is_config_folder,
    read_config,
    refuse_unknown,
    sources,
)
from paramgen.architectures.inputs import image
from paramgen.architectures.overrides import join_spec
from paramgen.architectures.recorder import record
from paramgen.architectures.stored import stored
from paramgen.errors import UnknownNameError
from paramgen.manifest import read_manifest

_WIDTHS: Final = ("cross_attention_dim", "joint_attention_dim", "text_embed_dim", "text_dim", "caption_channels")
"""Entries of a config that say how wide the states of a text are."""
_SIZES: Final = {
    **dict.fromkeys(("original_size", "target_size", "crop_coords"), (2,)),
    "timestep_r": (),
    "encoder_attention_mask": (8,),
}
"""What else forward passes require, and its shape behind the batch's."""


@final
@sources.register("diffusers")
class DiffusersSource(ArchitectureSource):
    """Every model class of diffusers whose constructor has defaults, or a config.json."""

    def build(self, request: Request) -> Architecture:
        """Build the class on the meta device."""
        model_class, config = _class_and_config(request.name)
        known = tuple(name for name in inspect.signature(model_class.__init__).parameters if name != "self")
        overrides = {
            "sample_size" if k == "image_size" and k not in known else k: v for k, v in request.overrides.items()
        }
        refuse_unknown(overrides, known, f"diffusers:{model_class.__name__}")
        try:
            module, draws = record(lambda: model_class(**{**config, **overrides}))
        except Exception as error:  # a constructor may raise anything at wrong arguments
            raise built(f"diffusers:{model_class.__name__}", error) from error
        return Architecture(
            spec=join_spec(f"diffusers:{request.name}", request.overrides),
            module=module,
            manifest=read_manifest(module, draws),
            example=request.example or example_inputs(module),
            layout=Layout(
                source="diffusers",
                config=json.loads(cast(Any, module).to_json_string()),
                weights_file="diffusion_pytorch_model.safetensors",
                shardable=True,
            ),
        )

    def names(self) -> Sequence[str]:
        """Every model class."""
        diffusers = _diffusers()
        found = (name for name in dir(diffusers) if not name.startswith(("_", "Flax", "Multi")))
        return [name for name in found if name.endswith("Model") or name.startswith("Autoencoder")]

    def load(self, folder: Path, device: torch.device) -> Loaded:
        """Call the class's own `from_pretrained`."""
        model_class, _ = _class_and_config(str(folder))
        # Its config names no dtype, so diffusers would make everything float32.
        dtype = next((entry.dtype for entry in stored(folder) if entry.dtype.is_floating_point), torch.float32)
        module, info = model_class.from_pretrained(
            folder, output_loading_info=True, local_files_only=True, use_safetensors=True, torch_dtype=dtype
        )
        return Loaded(
            module=module.to(device),
            missing=tuple(info["missing_keys"]),
            unexpected=tuple(info["unexpected_keys"]),
            mismatched=tuple(str(entry[0]) for entry in info["mismatched_keys"]),
        )


def example_inputs(module: Any) -> Inputs:
    """Return inputs for the arguments that the forward pass of a diffusers model requires, on the meta device."""
    config = module.config
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(module.forward).parameters.items():
        required = parameter.default is inspect.Parameter.empty
        if name in ("sample", "hidden_states"):
            size = config.get("sample_size") or 32
            images = image(config.get("in_channels", 3), size, type(module).__name__)
            given[name] = _as_read(module, images, frames=9 if name == "sample" else 8)
        elif (
            name == "timestep"
            or name == "class_labels"
            and (config.get("num_embeds_ada_norm") or config.get("num_class_embeds"))
        ):
            given[name] = torch.zeros(2, dtype=torch.long, device="meta")
        elif name == "encoder_hidden_states" and (required or any(map(config.get, _WIDTHS))):
            width = next((config[key] for key in _WIDTHS if config.get(key)), 768)
            given[name] = torch.zeros(2, 8, width if isinstance(width, int) else width[0], device="meta")
        elif name == "pooled_projections" and config.get("pooled_projection_dim"):
            given[name] = torch.zeros(2, config["pooled_projection_dim"], device="meta")
        elif name == "added_cond_kwargs" and getattr(module, "use_additional_conditions", False):
            given[name] = {
                "resolution": torch.zeros(2, 2, device="meta"),
                "aspect_ratio": torch.zeros(2, 1, device="meta"),
            }
        elif name in _SIZES and required:
            given[name] = torch.zeros(2, *_SIZES[name], device="meta")
        elif name == "controlnet_cond":
            size = config.get("sample_size") or 32  # of the latents, which some take; others take the image behind them
            pixels = config.get("conditioning_channels")
            given[name] = image(pixels or config["in_channels"], size * 8 if pixels else size, type(module).__name__)
    return (), given


def _as_read(module: nn.Module, images: Tensor, frames: int) -> Tensor:
    """Return images, or clips of them where the network reads clips.

    Autoencoders take a multiple of four frames and one more, transformers an even number. Frames stand behind the
    channels, but before them where a transformer makes patches of each frame alone.
    """
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    first = next((child for child in module.modules() if isinstance(child, kinds)), None)
    name = type(module).__name__
    if not isinstance(first, nn.Conv3d) and "3D" not in name:
        return images
    place = 1 if isinstance(first, nn.Conv2d) and "Transformer" in name else 2
    return images.unsqueeze(place).repeat_interleave(frames, place)


def _class_and_config(name: str) -> tuple[Any, dict[str, Any]]:
    diffusers = _diffusers()
    path = Path(name)
    config: dict[str, Any] = {}
    if path.suffix == ".json" or is_config_folder(name):
        given = read_config(path)
        name = str(given.get("_class_name"))
        config = {key: value for key, value in given.items() if not key.startswith("_")}
    found = getattr(diffusers, name, None)
    if not (isinstance(found, type) and issubclass(found, diffusers.ModelMixin)) or found is diffusers.ModelMixin:
        raise UnknownNameError.of(
            "diffusers architecture",
            name,
            DiffusersSource().names(),
            "Type: paramgen list architectures diffusers",
        )
    known = inspect.signature(found).parameters  # diffusers itself ignores what another version wrote
    return found, {key: value for key, value in config.items() if key in known}


def _diffusers() -> Any:
    ensure_torchvision()
    import diffusers

    return diffusers
