"""diffusers: `diffusers:UNet2DModel`. The folder is one that the class's own `from_pretrained` reads."""

import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, final

import torch
from torch import nn

from paramgen._optional.torchvision import ensure_torchvision
from paramgen.architectures import (
    Architecture,
    ArchitectureRequest,
    ArchitectureSource,
    FolderLayout,
    Inputs,
    LoadedModel,
    built,
    is_config_folder,
    read_config,
    refuse_unknown,
    sources,
)
from paramgen.architectures.config_limits import refuse_config
from paramgen.architectures.diffusers_inputs import example_inputs
from paramgen.architectures.recorder import record
from paramgen.architectures.untrusted import admitted
from paramgen.architectures.untrusted_sizes import bounded_construction
from paramgen.errors import UnknownNameError
from paramgen.registry.library_names import is_diffusers_model
from paramgen.registry.overrides import join_spec
from paramgen.slots.manifest import read_manifest
from paramgen.storage.reading import elements_in, stored


@final
@sources.register("diffusers")
class DiffusersSource(ArchitectureSource):
    """Every model class of diffusers whose constructor has defaults, or a config.json."""

    def build(self, request: ArchitectureRequest) -> Architecture:
        """Build the class on the meta device.

        Raises:
            ArchitectureError: The constructor fails.
        """
        model_class, config = _class_and_config(request.name)
        known = tuple(name for name in inspect.signature(model_class.__init__).parameters if name != "self")
        overrides = {
            "sample_size" if k == "image_size" and k not in known else k: v for k, v in request.overrides.items()
        }
        refuse_unknown(overrides, known, f"diffusers:{model_class.__name__}")
        refuse_config({**config, **overrides}, f"diffusers:{model_class.__name__}")
        what = f"diffusers:{model_class.__name__}"

        def construct() -> nn.Module:
            return model_class(**{**config, **overrides})

        try:
            with bounded_construction(what):
                module, programs = record(construct)
        except Exception as error:  # a constructor may raise anything at wrong arguments
            raise built(what, error) from error
        return Architecture(
            spec=join_spec(f"diffusers:{request.name}", request.overrides),
            module=module,
            manifest=read_manifest(module, programs),
            example=request.example or example_inputs(module),
            layout=FolderLayout(
                source="diffusers",
                config=json.loads(cast(Any, module).to_json_string()),
                weights_file="diffusion_pytorch_model.safetensors",
                shardable=True,
            ),
            construct=construct,
        )

    def names(self) -> Sequence[str]:
        """Every model class."""
        return list(filter(is_diffusers_model, dir(_diffusers())))

    def example_of(self, module: nn.Module) -> Inputs | None:
        """Return what the forward pass of a model of diffusers takes."""
        if "diffusers" not in sys.modules:  # then no module is of it, and importing it takes seconds
            return None
        return example_inputs(module) if isinstance(module, _diffusers().ModelMixin) else None

    def load(self, folder: Path, device: torch.device) -> LoadedModel:
        """Call the class's own `from_pretrained`."""
        model_class, _ = _class_and_config(str(folder))
        # Its config names no dtype, so diffusers would make everything float32.
        dtype = next((entry.dtype for entry in stored(folder) if entry.dtype.is_floating_point), torch.float32)
        with bounded_construction(str(folder), elements=elements_in(folder)):
            module, info = model_class.from_pretrained(
                folder, output_loading_info=True, local_files_only=True, use_safetensors=True, torch_dtype=dtype
            )
        return LoadedModel(
            module=module.to(device),
            missing=tuple(info["missing_keys"]),
            unexpected=tuple(info["unexpected_keys"]),
            mismatched=tuple(str(entry[0]) for entry in info["mismatched_keys"]),
        )


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
    config = admitted(config, known, origin=str(path))
    return found, {key: value for key, value in config.items() if key in known}


def _diffusers() -> Any:
    ensure_torchvision()
    import diffusers

    return diffusers
