"""LSUV: every layer's output has variance 1 on a batch of data (Mishkin & Matas, 2016, arXiv:1511.06422)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture, Inputs
from paramgen.architectures.materialize import materialize, run_once
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.example_values import example_values
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.images.batch import image_files, load_images
from paramgen.initializers import Composed, NamedTensors, initializer_of, initializers
from paramgen.initializers.orthogonal import ORTHOGONAL, Orthogonal
from paramgen.slots.torch_internals import TorchDispatchMode

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
        weights = {
            tensors[name].untyped_storage().data_ptr(): tensors[name]
            for name in linear_maps_of(graph, architecture.manifest)
        }
        with _no_fused_attention(), _UnitVariance(weights):
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


@contextmanager
def _no_fused_attention() -> Iterator[None]:
    """Keep torch from running a whole transformer layer as one operation, whose weights would not be seen."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


_PLACES: Final[Mapping[str, tuple[int, int | None]]] = {  # operation -> places of weight and bias
    "convolution": (1, 2),
    "addmm": (2, 0),
    "baddbmm": (2, 0),
    "mm": (1, None),
    "bmm": (1, None),
}


@final
class _UnitVariance(TorchDispatchMode):
    """Scale each weight in place when it is first used, by memory address, and hand on the result of the scaled one.

    What a layer makes of its input is linear in its weight, so one step brings the variance to 1; the paper's loop has
    nothing left to do. The bias is left out of the variance.
    """

    def __init__(self, weights: Mapping[int, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._due = dict(weights)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        outcome = func(*args, **(kwargs or {}))
        places = _PLACES.get(func.overloadpacket.__name__)
        weight = None if places is None else self._due.pop(args[places[0]].untyped_storage().data_ptr(), None)
        if places is None or weight is None:
            return outcome
        plain = outcome
        if places[1] is not None and isinstance(bias := args[places[1]], Tensor):
            plain = outcome - (bias.view(-1, *(1,) * (outcome.dim() - 2)) if places == (1, 2) else bias)
        variance = plain.float().var()
        if not bool(variance.isfinite()) or not float(variance) > 0:
            return outcome
        weight.div_(variance.sqrt().to(weight.dtype))
        return func(*args, **(kwargs or {}))
