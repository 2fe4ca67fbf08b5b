"""torchvision: `torchvision:resnet50`. The folder holds a state dict and a config.json that `paramgen.load` reads."""

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from paramgen._optional import require
from paramgen._optional.torchvision import ensure_torchvision
from paramgen.architectures import (
    Architecture,
    ArchitectureRequest,
    ArchitectureSource,
    FolderLayout,
    Inputs,
    LoadedModel,
    built,
    read_config,
    refuse_pretrained,
    sources,
)
from paramgen.architectures.config_limits import refuse_config
from paramgen.architectures.detection import follow_every_head
from paramgen.architectures.inputs import image
from paramgen.architectures.recorder import built_on, record
from paramgen.architectures.state import load_state
from paramgen.architectures.untrusted import admitted
from paramgen.architectures.untrusted_sizes import bounded_construction
from paramgen.errors import ArchitectureError, one_line
from paramgen.registry.architecture_names import unknown_in
from paramgen.registry.overrides import join_spec
from paramgen.slots.manifest import read_manifest
from paramgen.storage.reading import elements_in

FRAMES: Final = 16  # of a clip; the least that every video network takes


@final
@sources.register("torchvision")
class TorchvisionSource(ArchitectureSource):
    """Every model builder of torchvision."""

    def build(self, request: ArchitectureRequest) -> Architecture:
        """Call the builder on the meta device.

        Raises:
            UnknownNameError: torchvision has no such model.
        """
        models = _models()
        if request.name not in models.list_models():
            raise unknown_in("torchvision", request.name, models.list_models())
        arguments = {"num_classes" if key == "num_labels" else key: value for key, value in request.overrides.items()}
        refuse_pretrained(arguments, f"torchvision:{request.name}")
        refuse_config(arguments, f"torchvision:{request.name}")
        images = image(3, arguments.get("image_size", 299 if request.name == "inception_v3" else 224), request.name)
        if not request.name.startswith("vit_"):  # only their builders take it
            arguments.pop("image_size", None)

        def construct() -> nn.Module:
            return _construct(models, request.name, arguments)

        try:
            with bounded_construction(f"torchvision:{request.name}"):
                module, programs = record(construct)
        except Exception as error:  # a builder may raise anything at wrong arguments
            raise built(f"torchvision:{request.name}", error) from error
        follow_every_head(module)
        return Architecture(
            spec=join_spec(f"torchvision:{request.name}", request.overrides),
            module=module,
            manifest=read_manifest(module, programs),
            example=request.example or _example(models, request.name, images),
            layout=FolderLayout(
                source="torchvision",
                config={"library": "torchvision", "architecture": request.name, "arguments": arguments},
            ),
            construct=construct,
        )

    def names(self) -> Sequence[str]:
        """Every builder's name."""
        return list(_models().list_models())

    def load(self, folder: Path, device: torch.device) -> LoadedModel:
        """Build the network and load the state dict into it.

        Raises:
            ArchitectureError: config.json names no network of torchvision.
        """
        config = read_config(folder)
        models, name = _models(), str(config.get("architecture"))
        if name not in models.list_models() or not isinstance(config.get("arguments", {}), dict):
            raise ArchitectureError(f"{folder}/config.json names no network of torchvision: {one_line(name)!r}.")
        arguments = admitted(config.get("arguments", {}), (), origin=f"{folder}/config.json: arguments")
        with bounded_construction(str(folder), elements=elements_in(folder)):
            module = built_on(device, lambda: _construct(models, name, arguments))
        return load_state(module, folder)


def _models() -> Any:
    ensure_torchvision()
    return require("torchvision.models", extra="torchvision")


def _example(models: Any, name: str, images: Tensor) -> Inputs:
    """Return images as this kind of network takes them: a batch, a list, two batches, or clips."""
    kind = models.get_model_builder(name).__module__.removeprefix(f"{models.__name__}.").partition(".")[0]
    batch, channels, height, width = images.shape
    if kind == "video":
        return (images.new_zeros(batch, channels, FRAMES, height, width),), {}
    if kind == "detection":
        return ([images.new_zeros(channels, height, width) for _ in range(batch)],), {}
    return ((images, images) if kind == "optical_flow" else (images,)), {}


def _construct(models: Any, name: str, arguments: dict[str, Any]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of googlenet and inception_v3, on their default initialization
        if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
            arguments = {**arguments, "weights_backbone": None}  # or else it is downloaded
        module: nn.Module = models.get_model(name, weights=None, **arguments)
    return module
