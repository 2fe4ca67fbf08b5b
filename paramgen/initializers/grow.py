"""A larger language model that computes what a smaller one does (Gesmundo & Maile, 2023, arXiv:2308.06103)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, ParamgenError
from paramgen.graphs.schema import Graph
from paramgen.hub.trained import Trained
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import complete_rules, default_weights, fill_by_rules
from paramgen.language.axes import grown
from paramgen.language.growth import Growth, growth_of
from paramgen.language.source import Source, source_of
from paramgen.slots.manifest import Slot

GROWN = "grow"
_ADVICE: Final = "Type: --init grow:FOLDER_OR_REPO, of a smaller GPT-2, Llama or BERT"


@final
@initializers.register("grow")
@dataclass(frozen=True, kw_only=True)
class Grow(Initializer):
    """A smaller GPT-2, Llama or BERT, grown so that it computes the same, grow:FOLDER_OR_REPO (Gesmundo & Maile)."""

    group: ClassVar[str] = "from a trained model"
    applies_to: ClassVar[str] = "GPT-2, Llama and BERT"

    path: str = ""  # a folder that transformers reads, or a Hub repository, `@revision` after it

    def __post_init__(self) -> None:
        if not isinstance(self.path, str):
            raise OptionError(f"path is {self.path!r}. Allowed: a folder or a repository. {_ADVICE}")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `grow` for what the smaller model has, `zero` for outputs of new layers, else the library's rule."""
        (growth, _), filled = self._growth(architecture), architecture.manifest.filled
        new = [slot.name for slot in filled if growth.is_new(slot.name)]
        silent = [name for name in new if growth.ends_branch(name)]
        kept = [slot.name for slot in filled if not growth.is_new(slot.name)]
        return complete_rules(architecture, dict.fromkeys(kept, GROWN), silent)

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Read and grow one tensor after the other; what is new has default values."""
        growth, source = self._growth(architecture)

        def make(slot: Slot) -> Tensor:
            axes = growth.axes_of(slot.name)
            assert axes is not None  # refused before
            before = source.stored(slot.name, tuple(each.before for each in axes)).tensor()
            return grown(before, default_weights(slot, seed), axes)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def describe(self) -> Mapping[str, str]:
        """Return where the smaller model is from, its commit on the Hub, and the sha256 of its weights."""
        return self._trained.describe()

    def provenance(self) -> Mapping[str, Any]:
        """Return the smaller model's origin and what its card says of it."""
        return self._trained.provenance()

    def grows(self, architecture: Architecture) -> bool:
        """Whether the smaller model grows exactly into this one, and is not of its very sizes."""
        try:
            source = source_of(self._trained, architecture)
            self._growth(architecture)
        except ParamgenError:
            return False
        return source.before != source.now

    @cached_property
    def _trained(self) -> Trained:
        return Trained(path=self.path, init="grow", what="smaller model", advice=_ADVICE, needed=("config.json",))

    def _growth(self, architecture: Architecture) -> tuple[Growth, Source]:
        """Plan the growth; refuse a slot that no table knows, and a stored tensor of another shape."""
        source = source_of(self._trained, architecture)
        growth = growth_of(
            source.family,
            source.before,
            source.now,
            rope=source.config.get("rope_parameters"),
            scores=bool(source.config.get("scale_attn_weights", True)),
        )
        for slot in architecture.manifest.filled:
            axes = growth.axes_of(slot.name)
            if axes is None or tuple(each.now for each in axes) != slot.shape:
                raise OptionError(
                    f"{architecture.spec} has the slot {slot.name!r} of shape {slot.shape}, which no growth knows."
                )
            if not growth.is_new(slot.name):
                source.stored(slot.name, tuple(each.before for each in axes))
        return growth, source
