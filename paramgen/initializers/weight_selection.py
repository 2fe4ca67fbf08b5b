"""Weights taken from a larger model of the same family (Xu et al., 2024, arXiv:2311.18823)."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.architectures.stored import Stored, stored, weight_files
from paramgen.errors import CheckError, OptionError
from paramgen.export.card_data import known_of
from paramgen.graphs.roles import Flow
from paramgen.graphs.schema import Graph
from paramgen.hub import commit_of, fetch_folder, files_of, reason
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import library_elsewhere, start_by_rules
from paramgen.manifest import Manifest, Slot

SELECTED = "weight_selection"
_ADVICE: Final = "Type: --init weight_selection:FOLDER_OR_REPO, of a larger model of the same family"
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED: Final = ["*.safetensors", "*.safetensors.index.json", "README.md"]
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_BLOCK: Final = re.compile(r"(?<=\.)\d+(?=\.)")


@final
@initializers.register("weight_selection")
@dataclass(frozen=True, kw_only=True)
class WeightSelection(Initializer):
    """Evenly chosen weights of a larger model, weight_selection:FOLDER_OR_REPO (Xu et al., 2024)."""

    path: str = ""  # a folder with safetensors, or a Hub repository, `@revision` after it
    layers: Literal["first", "uniform"] = "first"  # which blocks, where the larger model has more of them
    head: bool = False  # whether the last linear layer is inherited too; its classes are seldom the same

    def __post_init__(self) -> None:
        if not isinstance(self.path, str):
            raise OptionError(f"path is {self.path!r}. Allowed: a folder or a repository. {_ADVICE}")
        if self.layers not in ("first", "uniform"):
            raise OptionError(f"layers is {self.layers!r}. Allowed: first and uniform")
        if not isinstance(self.head, bool):
            raise OptionError(f"head is {self.head!r}. Allowed: true and false")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`weight_selection` for what has a counterpart of the same name and rank and at least its size."""
        return library_elsewhere(architecture, dict.fromkeys(self._counterparts(architecture, graph), SELECTED))

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Read and thin out one tensor after the other; only what is the library's depends on the seed."""
        counterparts = self._counterparts(architecture, graph)

        def make(slot: Slot) -> Tensor:
            return evenly(counterparts[slot.name].tensor(), slot.shape).to(slot.dtype)

        return start_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def describe(self) -> Mapping[str, str]:
        """Return where the larger model is from, the commit if that is the Hub, and the sha256 of its weights."""
        commit = commit_of(self._folder)
        return {"larger_model": self.path, "sha256": self._digest} | ({"revision": commit} if commit else {})

    def inherited(self) -> Mapping[str, Any]:
        """The larger model, and what its card says of it."""
        name = self.path.partition("@")[0]
        repo = {} if Path(name).is_dir() else {"repo": name}
        return {"from": self.path, **repo, **known_of(self._folder)}

    def _counterparts(self, architecture: Architecture, graph: Graph) -> dict[str, Stored]:
        manifest = architecture.manifest
        left_out = set() if self.head else _head(graph, manifest)
        renamed = _evenly_deep(manifest, self._larger) if self.layers == "uniform" else {}
        found = {}
        for slot in manifest.filled:
            larger = self._larger.get(renamed.get(slot.name, slot.name))
            if larger is not None and slot.name not in left_out and _contains(larger, slot):
                found[slot.name] = larger
        if not found:
            raise OptionError(
                f"No tensor of {self.path!r} has the name and rank of one of {architecture.spec}. {_ADVICE}"
            )
        return found

    @cached_property
    def _folder(self) -> Path:
        name, at, revision = self.path.partition("@")
        if not name:
            raise OptionError(f"weight_selection needs a larger model. {_ADVICE}")
        if Path(name).is_dir():
            return Path(name)
        if not _REPOSITORY.fullmatch(name):
            raise OptionError(f"There is no folder {name!r}. {_ADVICE}")
        if at and not revision:
            raise OptionError(f"{self.path!r} has an empty revision. Type: --init weight_selection:org/model@revision")
        try:
            folder = fetch_folder(name, _WANTED, revision=revision or None)
        except Exception as error:  # a connection that breaks raises what its own library has for it
            raise OptionError(
                f"No larger model {self.path!r}: there is no such folder, and {reason(error)}. {_ADVICE}"
            ) from error
        if not any(folder.glob("*.safetensors")):
            _refuse_pickles(self.path, name, revision or None)
        return folder

    @cached_property
    def _larger(self) -> Mapping[str, Stored]:
        try:
            return {entry.name: entry for entry in stored(self._folder)}
        except CheckError as error:
            raise OptionError(f"{self.path!r} is no larger model: {error}") from error

    @cached_property
    def _digest(self) -> str:
        if not self._larger:
            raise OptionError(f"{self.path!r} holds no tensor. {_ADVICE}")
        digest = sha256()
        for file in weight_files(self._folder):
            with file.open("rb") as source:
                while piece := source.read(1 << 20):
                    digest.update(piece)
        return digest.hexdigest()


def _refuse_pickles(path: str, repo: str, revision: str | None) -> None:
    """Refuse a repository whose weights are pickles, if it is one, with the way to convert them."""
    pickles = [file for file in files_of(repo, revision=revision) if file.endswith(_PICKLES)]
    if pickles:
        raise OptionError(
            f"{path!r} holds no safetensors but {pickles[0]}, a pickle, which is not read. Where you trust it, type: "
            f"python -c \"import transformers as t; t.AutoModel.from_pretrained('{repo}').save_pretrained('larger')\", "
            "and then: --init weight_selection:larger"
        )


def evenly(larger: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the elements at even distances along each dimension ("uniform element selection", section 3).

    Where a size does not divide the larger one, positions are rounded between the first and the last; the authors' code
    counts to one behind the last.
    """
    for dimension, (have, want) in enumerate(zip(larger.shape, shape, strict=True)):
        if have == want:
            continue
        places = torch.linspace(0, have - 1, want, dtype=torch.float64).round().long()
        if have % max(want, 1) == 0:
            places = torch.arange(want) * (have // max(want, 1))
        larger = larger.index_select(dimension, places)
    return larger.contiguous()


def _contains(larger: Stored, slot: Slot) -> bool:
    """Whether the slot can be thinned out of the stored tensor; counts and indices cannot."""
    if not slot.dtype.is_floating_point or not larger.dtype.is_floating_point:
        return False
    sizes = zip(larger.shape, slot.shape, strict=False)
    return len(larger.shape) == len(slot.shape) and all(have >= want for have, want in sizes)


def _head(graph: Graph, manifest: Manifest) -> set[str]:
    """Return the slots of the linear layers whose results are the network's own; a table that is used so is none."""
    flow = Flow(graph)
    first = {index: slot for slot, index in graph.nodes_of_slot().items()}
    owners = {
        manifest[first[node]].owner for node in flow.ends_of_network() if node in first and flow.op(node) == "linear"
    }
    return {slot.name for slot in manifest.filled if slot.owner in owners and slot.owner}


def _evenly_deep(manifest: Manifest, larger: Iterable[str]) -> dict[str, str]:
    """Return the name in the larger model that each slot of a list of blocks takes, blocks at even distances."""
    ours, theirs = _lists_of_blocks(manifest), _lists_of_blocks(larger)
    renamed = {}
    for name in manifest:
        match = _BLOCK.search(name)
        if match is None:
            continue
        here, there = ours[name[: match.start()]], theirs[name[: match.start()]]
        if len({frozenset(names) for names in there.values()}) != 1 or len(there) <= len(here):
            continue  # no list of like blocks, or no more of them
        places = torch.linspace(0, len(there) - 1, len(here), dtype=torch.float64).round().long().tolist()
        chosen = sorted(there)[places[sorted(here).index(int(match.group()))]]
        renamed[name] = f"{name[: match.start()]}{chosen}{name[match.end() :]}"
    return renamed


def _lists_of_blocks(names: Iterable[str]) -> dict[str, dict[int, set[str]]]:
    """Return for each path before a number the numbers there and the names behind each."""
    found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        match = _BLOCK.search(name)
        if match is not None:
            found[name[: match.start()]][int(match.group())].add(name[match.end() :])
    return found
