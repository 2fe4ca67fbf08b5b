"""A larger language model that computes what a smaller one does (Gesmundo & Maile, 2023, arXiv:2308.06103)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.architectures.stored import Stored
from paramgen.architectures.transformers import completed_config
from paramgen.errors import OptionError
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import library_elsewhere, library_start, start_by_rules
from paramgen.language.axes import grown
from paramgen.language.growth import Growth, growth_of
from paramgen.language.sizes import family_of, refuse_other, sizes_of
from paramgen.manifest import Slot
from paramgen.trained import Trained

GROWN = "grow"
_ADVICE: Final = "Type: --init grow:FOLDER_OR_REPO, of a smaller GPT-2, Llama or BERT"


@final
@initializers.register("grow")
@dataclass(frozen=True, kw_only=True)
class Grow(Initializer):
    """A smaller GPT-2, Llama or BERT, grown so that it computes the same, grow:FOLDER_OR_REPO (Gesmundo & Maile)."""

    path: str = ""  # a folder that transformers reads, or a Hub repository, `@revision` after it

    def __post_init__(self) -> None:
        if not isinstance(self.path, str):
            raise OptionError(f"path is {self.path!r}. Allowed: a folder or a repository. {_ADVICE}")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`grow` for what the smaller model has, `zero` for what new layers write, the library's for their rest."""
        growth, filled = self._growth(architecture), architecture.manifest.filled
        new = [slot.name for slot in filled if growth.is_new(slot.name)]
        silent = [name for name in new if growth.ends_branch(name)]
        kept = [slot.name for slot in filled if slot.name not in set(new)]
        return library_elsewhere(architecture, dict.fromkeys(kept, GROWN), silent)

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Read and grow one tensor after the other; what is new is the library's draw."""
        growth = self._growth(architecture)

        def make(slot: Slot) -> Tensor:
            axes = growth.axes_of(slot.name)
            assert axes is not None  # refused before
            return grown(self._smaller(growth, slot.name).tensor(), library_start(slot, seed), axes)

        return start_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def describe(self) -> Mapping[str, str]:
        """Return where the smaller model is from, the commit if that is the Hub, and the sha256 of its weights."""
        return self._trained.describe()

    def inherited(self) -> Mapping[str, Any]:
        """The smaller model, and what its card says of it."""
        return self._trained.inherited()

    @cached_property
    def _trained(self) -> Trained:
        return Trained(path=self.path, init="grow", what="smaller model", advice=_ADVICE, files=("config.json",))

    @cached_property
    def _config(self) -> Mapping[str, Any]:
        return completed_config(self._trained.folder)

    def _growth(self, architecture: Architecture) -> Growth:
        """Plan the growth; refuse another family, a slot that no table knows, and a stored tensor of another shape."""
        family = family_of(architecture.layout.config, architecture.spec)
        smaller, now = self._config, architecture.layout.config
        if smaller.get("model_type") != family.model_type:
            raise OptionError(
                f"{self.path!r} is a {smaller.get('model_type')}, {architecture.spec} a {family.model_type}; a growth "
                "stays in its family."
            )
        refuse_other(family, smaller, now, repr(self.path))
        growth = growth_of(
            family,
            sizes_of(family, smaller, repr(self.path)),
            sizes_of(family, now, architecture.spec),
            rope=now.get("rope_parameters"),
            scores=bool(now.get("scale_attn_weights", True)),
        )
        for slot in architecture.manifest.filled:
            self._refuse(growth, slot, architecture.spec)
        return growth

    def _refuse(self, growth: Growth, slot: Slot, spec: str) -> None:
        axes = growth.axes_of(slot.name)
        if axes is None or tuple(each.now for each in axes) != slot.shape:
            raise OptionError(f"{spec} has the slot {slot.name!r} of shape {slot.shape}, which no growth knows.")
        if growth.is_new(slot.name):
            return
        stored, wanted = self._smaller(growth, slot.name), tuple(each.before for each in axes)
        if stored.shape != wanted or not stored.dtype.is_floating_point:
            raise OptionError(
                f"{self.path!r} has {stored.name!r} of shape {stored.shape} and {stored.dtype}; its config.json asks "
                f"for numbers of shape {wanted}. Get the model again."
            )

    def _smaller(self, growth: Growth, slot: str) -> Stored:
        """Return the stored tensor that a slot grows from; that of a tied head is its embedding."""
        found = self._trained.find(slot)
        if found is None and slot in growth.family.head:
            found = self._trained.find(growth.family.head[slot])
        if found is None:
            raise OptionError(f"{self.path!r} has no tensor {slot!r}. Get the whole model. {_ADVICE}")
        return found
