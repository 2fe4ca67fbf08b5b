"""Weights predicted by a graph hypernet: the shipped one, one in a folder, or one on the Hub."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, final

import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RevisionNotFoundError,
)
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import HypernetError, OptionError
from paramgen.graphs.native import native_view
from paramgen.graphs.published.view import published_view
from paramgen.graphs.published.vocabulary import Family
from paramgen.graphs.schema import Graph
from paramgen.graphs.view import View
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.decoders.low_rank import LowRankConfig
from paramgen.hypernets.decoders.low_rank_vectors import LowRankVectorsConfig
from paramgen.hypernets.hypernet import Hypernet
from paramgen.hypernets.normalization import InitializerRange
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import library_rule, library_start

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
    softmax: Literal["explicit", "fused"] = "explicit"  # how a published hypernet is shown attention

    def __post_init__(self) -> None:
        if self.softmax not in ("explicit", "fused"):
            raise OptionError(f"softmax is {self.softmax!r}. Allowed: explicit (as published weights expect) and fused")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`hypernet` for what the hypernet's roles cover, the library's rules for the rest."""
        predicted = {request.slot for request in self.model.requests(self._view(architecture, graph))}
        return {
            slot.name: HYPERNET if slot.name in predicted else library_rule(slot)
            for slot in architecture.manifest.filled
        }

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield the predicted slots group by group, then the library's."""
        manifest = architecture.manifest
        predicted: set[str] = set()

        def base(name: str) -> Tensor:
            return library_start(manifest[name], seed)

        for name, tensor in self.model(self._view(architecture, graph), base):
            predicted.add(name)
            yield name, tensor.to(manifest[name].dtype)
        for slot in manifest.filled:
            if slot.name not in predicted:
                yield slot.name, library_start(slot, seed)

    def _view(self, architecture: Architecture, graph: Graph) -> View:
        return _view_of(self.model, architecture, graph, self.softmax)

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


@lru_cache(maxsize=1)  # rules and tensors ask for the same view, one after the other
def _view_of(model: Hypernet, architecture: Architecture, graph: Graph, softmax: Literal["explicit", "fused"]) -> View:
    cutoff = model.config.encoder.cutoff
    if model.config.vocabulary == "native":
        return native_view(graph, architecture.manifest, cutoff=cutoff)
    if architecture.module is None or architecture.example is None:
        raise OptionError(
            "A published hypernet follows the network itself; a graph's JSON is not enough. Give --arch a name or a "
            "file.py:factory"
        )
    family = published_family(model.config)
    return published_view(
        architecture.module,
        architecture.manifest,
        architecture.example,
        family=family,
        cutoff=cutoff,
        softmax=softmax,
    )


def published_family(config: HypernetConfig) -> Family:
    """Return whose graph rules a converted hypernet was trained with."""
    if not isinstance(config.decoder, (LowRankConfig, LowRankVectorsConfig)):
        return "ghn3"
    return "logah_gpt" if isinstance(config.normalization, InitializerRange) else "logah_vit"


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
    if isinstance(cause, HFValidationError):
        return "that is no name of a Hub repository"
    return "the Hub cannot be reached" if isinstance(cause, OSError) else None
