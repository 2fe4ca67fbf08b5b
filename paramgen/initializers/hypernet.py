"""Weights predicted by a graph hypernet: the shipped one, one in a folder, or one on the Hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import final

import torch
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.graphs.native import native_view
from paramgen.graphs.schema import Graph
from paramgen.graphs.view import View
from paramgen.hypernets.hypernet import Hypernet
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import library_rule, library_start
from paramgen.manifest import Manifest

HYPERNET = "hypernet"
SHIPPED = "first_light"


@final
@initializers.register("hypernet")
@dataclass(frozen=True, kw_only=True)
class HypernetInitializer(Initializer):
    """What the hypernet asks for it fills; every other slot falls to `library`, by name."""

    path: str = ""  # a folder or a Hub repository, `@revision` after it; empty: the hypernet that comes with paramgen

    def rules(self, manifest: Manifest, graph: Graph) -> Mapping[str, str]:
        """`hypernet` for what the hypernet's roles cover, the library's rules for the rest."""
        predicted = {request.slot for request in self.model.requests(self._view(manifest, graph))}
        return {slot.name: HYPERNET if slot.name in predicted else library_rule(slot) for slot in manifest.filled}

    @torch.no_grad()
    def tensors(self, manifest: Manifest, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield the predicted slots group by group, then the library's."""
        predicted: set[str] = set()

        def base(name: str) -> Tensor:
            return library_start(manifest[name], seed)

        for name, tensor in self.model(self._view(manifest, graph), base):
            predicted.add(name)
            yield name, tensor.to(manifest[name].dtype)
        for slot in manifest.filled:
            if slot.name not in predicted:
                yield slot.name, library_start(slot, seed)

    def _view(self, manifest: Manifest, graph: Graph) -> View:
        return native_view(graph, manifest, cutoff=self.model.config.encoder.cutoff)

    def describe(self) -> Mapping[str, str]:
        """Return where the hypernet is from and the sha256 of its weights."""
        return {"hypernet": self.path or f"paramgen/{SHIPPED}", "sha256": self.model.sha256 or ""}

    @cached_property
    def model(self) -> Hypernet:
        """The hypernet, read at first use."""
        if not self.path:
            return Hypernet.from_pretrained(str(files("paramgen") / "pretrained" / SHIPPED)).eval()
        name, at, revision = self.path.partition("@")
        if at and not revision:
            raise OptionError(f"{self.path!r} has an empty revision. Type: --init hypernet:org/repo@revision")
        return Hypernet.from_pretrained(name, revision=revision or None).eval()
