"""Weights predicted by a graph hypernet: the shipped one, one in a folder, or one on the Hub."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Final, final

import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RevisionNotFoundError,
)
from torch import Tensor

from paramgen.errors import HypernetError, OptionError
from paramgen.graphs.native import native_view
from paramgen.graphs.schema import Graph
from paramgen.graphs.view import View
from paramgen.hypernets.hypernet import Hypernet
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import library_rule, library_start
from paramgen.manifest import Manifest

HYPERNET = "hypernet"
SHIPPED = "first_light"
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_ADVICE: Final = "Type: --init hypernet for the one that comes with paramgen, or hypernet:FOLDER_OR_REPO"


@final
@initializers.register("hypernet")
@dataclass(frozen=True, kw_only=True)
class HypernetInitializer(Initializer):
    """What a hypernet predicts from the graph, the shipped one or hypernet:FOLDER_OR_REPO; the rest is `library`."""

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
        if Path(name).is_dir():
            return Hypernet.from_pretrained(name).eval()
        if not _REPOSITORY.fullmatch(name):
            raise HypernetError(f"No hypernet {name!r}: there is no such folder. {_ADVICE}")
        try:
            return Hypernet.from_pretrained(name, revision=revision or None).eval()
        except HypernetError as error:
            reason = _reason(error.__cause__)
            if reason is None:
                raise
            raise HypernetError(
                f"No hypernet {self.path!r}: there is no such folder, and {reason}. {_ADVICE}"
            ) from error


def _reason(cause: BaseException | None) -> str | None:
    """Say why the Hub gave no file, without the pages that huggingface_hub writes about it."""
    if isinstance(cause, LocalEntryNotFoundError):
        return "the Hub cannot be reached"
    if isinstance(cause, EntryNotFoundError):
        return "the Hub's repository of that name holds no hypernet"
    if isinstance(cause, RevisionNotFoundError):
        return "the Hub's repository of that name has no such revision"
    if isinstance(cause, HfHubHTTPError):
        return "the Hub has no repository of that name that you may read"
    return "that is no name of a Hub repository" if isinstance(cause, HFValidationError) else None
