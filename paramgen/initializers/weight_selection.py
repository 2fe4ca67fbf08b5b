"""Weights taken from a larger model of the same family (Xu et al., 2024, arXiv:2311.18823).

Of GPT-2, Llama and BERT, heads are taken whole, with the keys and values that they share, and the first rows of tables.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, Literal, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture, is_config_folder, read_config
from paramgen.architectures.transformers import completed_config
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import Flow
from paramgen.graphs.schema import Graph
from paramgen.hub.trained import Trained
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import complete_rules, fill_by_rules
from paramgen.language.families import FAMILIES, LAYER
from paramgen.language.selection import Selection, evenly, selection_of
from paramgen.language.sizes import sizes_of
from paramgen.slots.manifest import Manifest, Slot
from paramgen.storage.reading import Stored

SELECTED = "weight_selection"
_ADVICE: Final = "Type: --init weight_selection:FOLDER_FILE_OR_REPO, of a larger model of the same family"


@final
@initializers.register("weight_selection")
@dataclass(frozen=True, kw_only=True)
class WeightSelection(Initializer):
    """Evenly chosen weights of a larger model, weight_selection:FOLDER_OR_REPO (Xu et al., 2024)."""

    group: ClassVar[str] = "from a trained model"
    applies_to: ClassVar[str] = "networks of the same family as the larger one"

    path: str = ""  # a safetensors file, a folder with some, or a Hub repository, `@revision` after it
    layers: Literal["first", "uniform"] = "first"  # which blocks, where the larger model has more of them
    head: bool = False  # whether the last linear layer is taken too; its classes are seldom the same

    def __post_init__(self) -> None:
        if not isinstance(self.path, str):
            raise OptionError(f"path is {self.path!r}. Allowed: a folder or a repository. {_ADVICE}")
        if self.layers not in ("first", "uniform"):
            raise OptionError(f"layers is {self.layers!r}. Allowed: first and uniform")
        if not isinstance(self.head, bool):
            raise OptionError(f"head is {self.head!r}. Allowed: true and false")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `weight_selection` for slots with a counterpart of the same name and rank and at least their size."""
        return complete_rules(architecture, dict.fromkeys(self._counterparts(architecture, graph), SELECTED))

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Read and subsample one tensor after the other; only default values depend on the seed."""
        counterparts, selection = self._counterparts(architecture, graph), self._selection(architecture)

        def make(slot: Slot) -> Tensor:
            larger = counterparts[slot.name].tensor()
            taken = None if selection is None else selection.taken(slot.name, larger, slot.shape)
            return (evenly(larger, slot.shape) if taken is None else taken).to(slot.dtype)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def describe(self) -> Mapping[str, str]:
        """Return where the larger model is from, its commit on the Hub, and the sha256 of its weights."""
        return self._trained.describe()

    def provenance(self) -> Mapping[str, Any]:
        """Return the larger model's origin and what its card says of it."""
        return self._trained.provenance()

    def _counterparts(self, architecture: Architecture, graph: Graph) -> dict[str, Stored]:
        manifest = architecture.manifest
        left_out = set() if self.head else _head(graph, manifest)
        renamed = _evenly_deep(manifest, self._trained.names_for(manifest)) if self.layers == "uniform" else {}
        found = {}
        for slot in manifest.filled:
            larger = self._trained.find(renamed.get(slot.name, slot.name))
            if larger is not None and slot.name not in left_out and _contains(larger, slot):
                found[slot.name] = larger
        if not found:
            raise OptionError(
                f"No tensor of {self.path!r} has the name and rank of one of {architecture.spec}. {_ADVICE}"
            )
        return found

    @cached_property
    def _trained(self) -> Trained:
        return Trained(
            path=self.path, init="weight_selection", what="larger model", advice=_ADVICE, files=("config.json",)
        )

    def _selection(self, architecture: Architecture) -> Selection | None:
        """Return which indices a smaller GPT-2, Llama or BERT takes of a larger one; None where it is another kind."""
        family = FAMILIES.get(str(architecture.layout.config.get("model_type")))
        folder = self._trained.folder
        if family is None or not is_config_folder(str(folder)):
            return None
        if read_config(folder).get("model_type") != family.model_type:
            return None
        larger = sizes_of(family, completed_config(folder), repr(self.path))
        return selection_of(family, larger, sizes_of(family, architecture.layout.config, architecture.spec))


def _contains(larger: Stored, slot: Slot) -> bool:
    """Whether the slot can be subsampled from the stored tensor; counts and indices cannot."""
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
    """Return the larger model's name for each slot in a list of blocks, blocks at even distances."""
    ours, theirs = _lists_of_blocks(manifest), _lists_of_blocks(larger)
    renamed = {}
    for name in manifest:
        match = LAYER.search(name)
        if match is None:
            continue
        here, there = ours[name[: match.start()]], theirs[name[: match.start()]]
        if len({frozenset(names) for names in there.values()}) != 1 or len(there) <= len(here):
            continue  # no list of like blocks, or no more of them
        indices = torch.linspace(0, len(there) - 1, len(here), dtype=torch.float64).round().long().tolist()
        chosen = sorted(there)[indices[sorted(here).index(int(match.group()))]]
        renamed[name] = f"{name[: match.start()]}{chosen}{name[match.end() :]}"
    return renamed


def _lists_of_blocks(names: Iterable[str]) -> dict[str, dict[int, set[str]]]:
    """Return the blocks of each list, by the path before the number: number -> names behind it."""
    found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        match = LAYER.search(name)
        if match is not None:
            found[name[: match.start()]][int(match.group())].add(name[match.end() :])
    return found
