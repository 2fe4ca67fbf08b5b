"""timm: `timm:vit_tiny_patch16_224`. The folder is one that `timm.create_model("local-dir:...")` reads."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, final

import torch
from torch import nn

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
from paramgen.architectures.inputs import image
from paramgen.architectures.recorder import built_on, record
from paramgen.architectures.untrusted import admitted
from paramgen.architectures.untrusted_sizes import bounded_construction, refuse_sizes
from paramgen.errors import ArchitectureError, one_line
from paramgen.registry.architecture_names import unknown_in
from paramgen.registry.overrides import join_spec
from paramgen.slots.manifest import read_manifest
from paramgen.storage.reading import elements_in, stored

# What timm says of the weights that it has for such a network: of ours it would be untrue.
_OF_OTHER_WEIGHTS = ("tag", "license", "origin_url", "paper_ids", "paper_name", "notes")
_SAME_OPTION = {"num_labels": "num_classes", "image_size": "img_size"}


@final
@sources.register("timm")
class TimmSource(ArchitectureSource):
    """Every model of timm."""

    def build(self, request: ArchitectureRequest) -> Architecture:
        """Call `timm.create_model` on the meta device.

        Raises:
            UnknownNameError: timm has no such model.
        """
        timm = _timm()
        if not timm.is_model(request.name):
            raise unknown_in("timm", request.name, timm.list_models())
        arguments = {_SAME_OPTION.get(key, key): value for key, value in request.overrides.items()}
        refuse_pretrained(arguments, f"timm:{request.name}")
        refuse_config(arguments, f"timm:{request.name}")

        def construct() -> nn.Module:
            return timm.create_model(request.name, pretrained=False, **arguments)

        try:
            with bounded_construction(f"timm:{request.name}"):
                module, programs = record(construct)
        except Exception as error:  # a builder may raise anything at wrong arguments
            raise built(f"timm:{request.name}", error) from error
        channels, height, width = _input_size(module, arguments)
        images = image(channels, (height, width), request.name)
        return Architecture(
            spec=join_spec(f"timm:{request.name}", request.overrides),
            module=module,
            manifest=read_manifest(module, programs),
            example=request.example or ((images,), {}),
            layout=FolderLayout(source="timm", config=_config(module)),
            pixel_std=self.pixel_std_of(module),
            construct=construct,
        )

    def names(self) -> Sequence[str]:
        """Every model name, without pretrained tags."""
        return list(_timm().list_models())

    def example_of(self, module: nn.Module) -> Inputs | None:
        """Return images of the size that the model was made for, or else of that in its `pretrained_cfg`."""
        size = _pretrained_cfg(module).get("input_size")
        made_for = getattr(getattr(module, "patch_embed", None), "img_size", None)
        sides = made_for if isinstance(made_for, tuple) and len(made_for) == 2 else size[1:] if size else ()
        return ((torch.zeros((2, size[0], *sides), device="meta"),), {}) if size else None

    def pixel_std_of(self, module: nn.Module) -> float | None:
        """Return the mean of the three numbers in the model's `pretrained_cfg`."""
        std = _pretrained_cfg(module).get("std")
        if not isinstance(std, (tuple, list)) or not std or not all(isinstance(each, (int, float)) for each in std):
            return None
        return mean(std) if min(std) > 0 else None

    def load(self, folder: Path, device: torch.device) -> LoadedModel:
        """Call `timm.create_model` on the folder; timm itself refuses missing and unexpected keys."""
        timm = _timm()
        found = {entry.name for entry in stored(folder)}  # or else timm would open a pickle
        name, arguments = _name_and_arguments(timm, folder)
        with bounded_construction(str(folder), elements=elements_in(folder)):
            if device.type != "meta":
                return LoadedModel(module=timm.create_model(f"local-dir:{folder}", pretrained=True).to(device))
            module = built_on(device, lambda: timm.create_model(name, **arguments))
        expected = set(module.state_dict())
        return LoadedModel(
            module=module, missing=tuple(sorted(expected - found)), unexpected=tuple(sorted(found - expected))
        )


def _name_and_arguments(timm: Any, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return what a folder's config.json says of its network, once it names one of timm's and no file."""
    config = read_config(folder)
    name, arguments = config.get("architecture"), config.get("model_args") or {}
    if not isinstance(name, str) or not timm.is_model(name) or not isinstance(arguments, dict):
        raise ArchitectureError(f"{folder}/config.json names no network of timm: {one_line(name)!r}. Get it again.")
    refuse_sizes({"num_classes": config.get("num_classes")}, origin=f"{folder}/config.json")
    return name, admitted(arguments, (), origin=f"{folder}/config.json: model_args")


def _pretrained_cfg(module: nn.Module) -> Any:
    """Return what timm says of a model's weights and images; empty for a module that is not timm's."""
    return getattr(module, "pretrained_cfg", None) or {}


def _timm() -> Any:
    ensure_torchvision()
    return require("timm", extra="timm")


def _config(module: Any) -> dict[str, Any]:
    save_config = require("timm.models._hub", extra="timm").save_config_for_hf  # nothing public writes the config alone
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        save_config(module, str(path))
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for key in _OF_OTHER_WEIGHTS:
        config["pretrained_cfg"].pop(key, None)
    return config


def _input_size(module: Any, arguments: dict[str, Any]) -> tuple[int, Any, Any]:
    channels, height, width = _pretrained_cfg(module).get("input_size") or (3, 224, 224)
    size = arguments.get("img_size")
    if size is not None:
        height, width = size if isinstance(size, (tuple, list)) and len(size) == 2 else (size, size)
    return arguments.get("in_chans", channels), height, width
