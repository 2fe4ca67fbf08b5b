"""What the forward passes of diffusers' models take: an entry for each argument, by its name and the config."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from paramgen.architectures import Inputs
from paramgen.architectures.inputs import image

BATCH: Final = 2
TEXT_LENGTH: Final = 8
GRID: Final = (1, 4, 4)  # frames, height and width of what is given as a sequence of patches
_PATCHES: Final = 16

_TEXT_LAYERS: Final = ("caption_projection.linear_1", "context_embedder", "txt_in")
_TEXT_WIDTHS: Final = (
    *("cross_attention_dim", "joint_attention_dim", "text_embed_dim", "text_dim", "caption_channels"),
    *("context_in_dim", "cap_feat_dim", "encoder_hidden_size"),
)
"""Layers that read the states of a text, and entries of a config that say how wide these are."""
_PATCH_LAYERS: Final = ("x_embedder", "img_in", "proj_in")
_CLIPS: Final = (
    "3D",
    "SpatioTemporal",
    "Motion",
)  # in the names of networks of clips that begin with flat convolutions
_FRAMES_FIRST: Final = ("CogVideoXTransformer", "ConsisID", "SpatioTemporal")  # they make patches of each frame alone
_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def example_inputs(module: Any) -> Inputs:
    """Return inputs for the arguments that a forward pass requires or makes use of, on the meta device."""
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(module.forward).parameters.items():
        value = _ARGUMENTS[name](module, parameter.default is parameter.empty) if name in _ARGUMENTS else None
        if value is not None:
            found[name] = value
    return (), found


def _floats(*shape: int) -> Tensor:
    return torch.zeros(BATCH, *shape, device="meta")


def _longs(*shape: int) -> Tensor:
    return torch.zeros(BATCH, *shape, dtype=torch.long, device="meta")


def _layer(module: Any, *paths: str) -> nn.Linear | None:
    """Return the first of these layers that is there and a linear map."""
    known = dict(module.named_modules())
    return next((known[path] for path in paths if isinstance(known.get(path), nn.Linear)), None)


def _images(module: Any, required: bool) -> Tensor:
    """Return images, clips of them, waves, or the sequence of an image's patches."""
    config, name = module.config, type(module).__name__
    first = next((child for child in module.modules() if isinstance(child, _CONVOLUTIONS)), None)
    patches = _layer(module, *_PATCH_LAYERS)
    in_order = patches is not None and patches.in_features == config.get("in_channels")  # others cut images themselves
    if patches is not None and in_order and not isinstance(first, nn.Conv3d):
        return _floats(_PATCHES, patches.in_features)
    if isinstance(first, nn.Conv1d) and "Autoencoder" in name:
        return _floats(first.in_channels, 1 << 13)
    return _as_read(module, image(_channels(module), _size(module), name), first)


def _channels(module: Any) -> int:
    """Return the channels of the images; what no config says, an attribute of the module may."""
    config = module.config
    return int(config["in_channels"] if "in_channels" in config else getattr(module, "in_channels", 3))


def _size(module: Any) -> Any:
    """Return rows and columns of the images, or of the latents in their place."""
    config = module.config
    if config.get("sample_height") and config.get("sample_width"):
        return config["sample_height"], config["sample_width"]
    return config.get("sample_size") or 32


def _as_read(module: Any, images: Tensor, first: nn.Module | None) -> Tensor:
    """Return images, or clips of them where the network reads clips.

    Autoencoders take a multiple of four frames and one more, transformers an even number.
    """
    name = type(module).__name__
    if not isinstance(first, nn.Conv3d) and not any(word in name for word in _CLIPS):
        return images
    place = 1 if any(word in name for word in _FRAMES_FIRST) else 2
    return images.unsqueeze(place).repeat_interleave(9 if "Autoencoder" in name else 8, place)


def _hint(module: Any, required: bool) -> Tensor:
    """Return what a ControlNet is controlled by: latents or their patches, or the image behind them."""
    patches = _layer(module, "controlnet_x_embedder")
    if patches is not None:
        return _floats(_PATCHES, patches.in_features)
    name, config = type(module).__name__, module.config
    pixels = config.get("conditioning_channels") or config.get("ctrl_conditioning_channels")
    height, width = image(1, _size(module), name).shape[2:]
    return image(pixels, (8 * height, 8 * width), name) if pixels else image(_channels(module), (height, width), name)


def _words(module: Any, required: bool) -> Tensor | None:
    """Return the states of a text."""
    config = module.config
    layer = _layer(module, *_TEXT_LAYERS)
    widths = [config[key] for key in _TEXT_WIDTHS if config.get(key)]
    if not (required or widths or layer is not None):
        return None
    width = layer.in_features if layer is not None else widths[0] if widths else 768
    length = config.get("max_text_seq_length") or TEXT_LENGTH
    return _floats(length, width if isinstance(width, int) else width[0])


def _timestep(module: Any, required: bool) -> Tensor:
    return _longs()


def _label(module: Any, required: bool) -> Tensor | None:
    config = module.config
    return _longs() if config.get("num_embeds_ada_norm") or config.get("num_class_embeds") else None


def _pooled(module: Any, required: bool) -> Tensor | None:
    width = module.config.get("pooled_projection_dim") or module.config.get("cond_embed_dim")
    return _floats(width) if width else None


def _guidance(module: Any, required: bool) -> Tensor | None:
    return _floats() if module.config.get("guidance_embeds") else None


def _additional(module: Any, required: bool) -> dict[str, Tensor] | None:
    used = getattr(module, "use_additional_conditions", False)
    return {"resolution": _floats(2), "aspect_ratio": _floats(1)} if used else None


def _ids(count: int) -> Callable[[Any, bool], Tensor]:
    def ids(module: Any, required: bool) -> Tensor:
        return torch.zeros(count, len(module.config.get("axes_dims_rope") or (0, 0, 0)), device="meta")

    return ids


def _if_required(*shape: int) -> Callable[[Any, bool], Tensor | None]:
    return lambda module, required: _floats(*shape) if required else None


def _of_a_sequence(value: Any) -> Callable[[Any, bool], Any]:
    return lambda module, required: value if _layer(module, *_PATCH_LAYERS) is not None else None


def _padding(module: Any, required: bool) -> Tensor | None:
    return image(1, _size(module), type(module).__name__)[:1] if module.config.get("concat_padding_mask") else None


_ARGUMENTS: Final[Mapping[str, Callable[[Any, bool], Any]]] = {
    "sample": _images,
    "hidden_states": _images,
    "controlnet_cond": _hint,
    "x": lambda module, required: list(image(module.config["in_channels"], 8, type(module).__name__).unsqueeze(2)),
    "t": lambda module, required: _floats(),
    "cap_feats": lambda module, required: list(_floats(TEXT_LENGTH, module.config["cap_feat_dim"])),
    "timestep": _timestep,
    "class_labels": _label,
    "encoder_hidden_states": _words,
    "encoder_hidden_states_mask": lambda module, required: torch.ones(BATCH, TEXT_LENGTH, device="meta"),
    "encoder_attention_mask": _if_required(TEXT_LENGTH),
    "pooled_projections": _pooled,
    "pooled_text_emb": _pooled,
    "guidance": _guidance,
    "added_cond_kwargs": _additional,
    "added_time_ids": _if_required(3),
    "micro_conds": _if_required(5),
    "input_ids": lambda module, required: _longs(TEXT_LENGTH, TEXT_LENGTH) if required else None,
    "img_ids": _ids(_PATCHES),
    "txt_ids": _ids(TEXT_LENGTH),
    "img_shapes": lambda module, required: [[GRID]] * BATCH,
    "num_frames": _of_a_sequence(GRID[0]),
    "height": _of_a_sequence(GRID[1]),
    "width": _of_a_sequence(GRID[2]),
    "padding_mask": _padding,
    "original_size": _if_required(2),
    "target_size": _if_required(2),
    "crop_coords": _if_required(2),
    "timestep_r": _if_required(),
}
