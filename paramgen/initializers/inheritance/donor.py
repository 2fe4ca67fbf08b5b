"""A trained model that others inherit from: its architecture, traced, and its tensors, read one at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

from torch import Tensor

from paramgen.architectures import read_config, resolve
from paramgen.architectures.repository import from_config
from paramgen.errors import OptionError, ParamgenError, one_line
from paramgen.graphs.cache import cached_graph
from paramgen.graphs.tracing.fallbacks import Tracing
from paramgen.hub.trained import Trained
from paramgen.initializers.inheritance.network import Network
from paramgen.storage.reading import Stored

ADVICE: Final = "Type: --init inherit:FOLDER_OR_REPO, or --init 'inherit:FILE?arch=timm:resnet18'"
MAX_CLASS_NAMES: Final = 100_000
_GENERIC: Final = "LABEL_"


@final
@dataclass(frozen=True, kw_only=True)
class Donor:
    """A folder, a safetensors file or a repository of the Hub; nothing is read before it is needed."""

    path: str
    arch: str = ""  # of a file, or of a folder whose config.json names no network

    @cached_property
    def trained(self) -> Trained:
        """Its weights."""
        return Trained(path=self.path, init="inherit", what="donor", advice=ADVICE, files=("config.json",))

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its config.json; empty where it has none."""
        file = self.trained.folder / "config.json"
        return read_config(file) if file.is_file() else {}

    @cached_property
    def network(self) -> Network:
        """Its architecture, of the spec that was given or else of its config.json, and the graph.

        Raises:
            OptionError: Nothing says which network it is, or that one cannot be built or followed.
        """
        folder = self.trained.folder
        try:
            if self.arch:
                architecture = resolve(self.arch)
            elif (folder / "config.json").is_file():
                architecture = from_config(self.path, folder / "config.json")
            else:
                raise OptionError("nothing says which network it is: there is no config.json beside its weights")
            return Network(architecture=architecture, graph=cached_graph(architecture, Tracing()))
        except ParamgenError as error:
            raise OptionError(
                f"{self.path!r} cannot be a donor: {one_line(error).rstrip('.')}. Type: --init "
                f"'inherit:{self.path}?arch=timm:resnet18', with the network that it is"
            ) from error

    def stored(self, slot: str) -> Stored:
        """Return what is stored for a slot of the donor's network, under one of its names.

        Raises:
            OptionError: It is missing, or it is not what the network needs.
        """
        manifest = self.network.architecture.manifest
        canonical = manifest[slot].tied_to or slot
        names = manifest.names_of(canonical)
        found = next((entry for name in names if (entry := self.trained.find(name)) is not None), None)
        if found is None:
            raise OptionError(
                f"{self.path!r} has no tensor {one_line(slot)!r}, which {self.network.architecture.spec} has. Get the "
                "whole model, or give its own network: '?arch=...'"
            )
        wanted = manifest[canonical].shape
        if found.shape != wanted:
            raise OptionError(
                f"{self.path!r} has {one_line(found.name)!r} of shape {found.shape}; {self.network.architecture.spec} "
                f"needs {wanted}. Get the model again, or give its own network: '?arch=...'"
            )
        if not found.dtype.is_floating_point:
            dtype = str(found.dtype).removeprefix("torch.")
            raise OptionError(
                f"{self.path!r} holds {one_line(found.name)!r} as {dtype}, which is no weight to inherit. Give a model "
                "in float32, float16 or bfloat16"
            )
        return found

    def tensor(self, slot: str) -> Tensor:
        """Read one tensor.

        Raises:
            OptionError: It holds what is not finite.
        """
        return finite_tensor(self.path, self.stored(slot))


def finite_tensor(donor: str, entry: Stored) -> Tensor:
    """Return the values of a donor's tensor.

    Raises:
        OptionError: It holds what is not finite.
    """
    values = entry.tensor()
    values = values.float() if values.dtype.itemsize == 1 else values
    if values.numel() and values.is_floating_point() and not all(bool(end.isfinite()) for end in values.aminmax()):
        raise OptionError(f"{donor!r} holds values that are not finite in {one_line(entry.name)!r}. Give another donor")
    return values


def class_names(config: Mapping[str, Any]) -> list[str] | None:
    """Return the names of a network's classes in a config.json of transformers or timm; None where it has none."""
    labels = config.get("id2label")
    if isinstance(labels, Mapping) and len(labels) <= MAX_CLASS_NAMES:
        numbers = {str(index) for index in range(len(labels))}
        if {str(key) for key in labels} != numbers:
            return None
        names = [next(labels[key] for key in (str(index), index) if key in labels) for index in range(len(labels))]
    else:
        cfg = config.get("pretrained_cfg")
        named = config.get("label_names") or (cfg.get("label_names") if isinstance(cfg, Mapping) else None)
        names = list(named) if isinstance(named, list) and len(named) <= MAX_CLASS_NAMES else []
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        return None
    return None if all(name.startswith(_GENERIC) for name in names) else names
