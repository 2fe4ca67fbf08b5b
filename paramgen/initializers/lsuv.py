"""LSUV: every layer's output has variance 1 on a batch of data (Mishkin & Matas, 2016, arXiv:1511.06422)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final, final

import torch

from paramgen.architectures import Architecture, Inputs
from paramgen.architectures.materialize import materialize, run_once
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.example_values import example_values
from paramgen.graphs.analysis.output_variances import OutputVariances, no_fused_layers
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.images.batch import image_files, load_images
from paramgen.initializers import Composed, NamedTensors, initializer_of, initializers
from paramgen.initializers.orthogonal import ORTHOGONAL, Orthogonal

LSUV = "lsuv"
MAX_BATCH: Final = 4096


@final
@initializers.register("lsuv")
@dataclass(frozen=True, kw_only=True)
class Lsuv(Composed):
    """Orthogonal weights, then each layer's output scaled to variance 1 on noise or images, lsuv:FOLDER (2016).

    The whole network is in memory and is run once on the CPU. Without a folder the batch is Gaussian noise, token ids
    are uniform, and other integers are ones. A weight that is not used in this run stays as it was. Another initializer
    than orthogonal weights can be calibrated in the same way: `base` names it.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "linear layers and convolutions"
    runs_network: ClassVar[bool] = True
    slot_by_slot: ClassVar[bool] = False

    data: str = ""  # a folder of images; empty: Gaussian noise
    batch: int = 8  # how many examples
    base: str = ORTHOGONAL  # the initializer whose weights are scaled

    def __post_init__(self) -> None:
        if not isinstance(self.data, str):
            raise OptionError(f"data is {self.data!r}. Allowed: a folder of images. Type: --init lsuv:FOLDER")
        if isinstance(self.batch, bool) or not isinstance(self.batch, int) or not 2 <= self.batch <= MAX_BATCH:
            raise OptionError(f"batch is {self.batch!r}. Allowed: 2 to {MAX_BATCH}. Type: --init 'lsuv?batch=8'")
        if not isinstance(self.base, str) or self.base.partition("?")[0] == LSUV:
            raise OptionError(f"base is {one_line(repr(self.base))}. Allowed: another initializer. Type: --init lsuv")
        self.keep(lambda: Orthogonal(gain=1.0) if self.base == ORTHOGONAL else initializer_of(self.base))

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `lsuv` for weights of linear maps, the base's rules elsewhere."""
        _refuse_graph(architecture)
        scaled = dict.fromkeys(linear_maps_of(graph, architecture.manifest), LSUV)
        return {**self.inner.rules(architecture, graph), **scaled}

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return why the base can fill nothing of a network; None where it can."""
        return self.inner.hindrance(architecture, graph)

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Run the network once; each weight is scaled before what comes behind it is computed."""
        _refuse_graph(architecture)
        # To run the network, every slot is needed, however few were requested.
        architecture = replace(architecture, manifest=architecture.manifest.whole())
        tensors = dict(self.inner.tensors(architecture, graph, seed=seed))
        args, kwargs = self._inputs(architecture, graph, seed)
        module = materialize(architecture, tensors)
        weights = {name: tensors[name] for name in linear_maps_of(graph, architecture.manifest)}
        with no_fused_layers(), OutputVariances(weights, dict.fromkeys(weights, 1.0)):
            run_once(module, architecture, args, kwargs, instead=ORTHOGONAL)
        yield from tensors.items()

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the base, the folder, and a sha256 over its images' names and sizes."""
        base = {} if self.base == ORTHOGONAL else {"of": self.of(self.base)}
        if not self.data:
            return base
        folder = Path(self.data)
        listing = sha256()
        for file in self._files:
            listing.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        return {**base, "images": self.data, "sha256": listing.hexdigest()}

    @cached_property
    def _files(self) -> list[Path]:
        return image_files(Path(self.data))

    def _inputs(self, architecture: Architecture, graph: Graph, seed: int) -> Inputs:
        """Return a batch of noise, or of images from the folder."""
        pictures = (lambda shape, generator: load_images(self._files, shape, generator)) if self.data else None
        return example_values(architecture, graph, examples=self.batch, seed=seed, pictures=pictures)


def _refuse_graph(architecture: Architecture) -> None:
    if architecture.module is None:
        raise OptionError(
            "lsuv runs the network itself; a graph's JSON is not enough. Give --arch a name or a file.py:factory"
        )
