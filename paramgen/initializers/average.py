"""The average of several trained models of one architecture (Choshen et al., 2022, arXiv:2204.03044).

Each value is the sum of theirs, weighted. Only models that come from one ancestor, fine-tuned on different data for
instance, have an average that is of use. Their tensors are read one after the other: two are in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.schema import Graph
from paramgen.hub.trained import Trained
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.inheritance.donor import finite_tensor
from paramgen.initializers.inheritance.licences import allowed_licences, check_licence, identified, joint_provenance
from paramgen.initializers.library import complete_rules, fill_by_rules
from paramgen.slots.manifest import Manifest, Slot
from paramgen.storage.reading import Stored

AVERAGED, FIRST = "average", "average:first"
"""The rules: of floating-point slots, and of integers and booleans, which are the first model's."""

MAX_MODELS: Final = 64
_ADVICE: Final = "Type: --init average:A,B, with two folders or repositories of one architecture"


@final
@initializers.register("average")
@dataclass(frozen=True, kw_only=True)
class Average(Initializer):
    """The weighted average of trained models of this very architecture, average:A,B,C (Choshen et al., 2022)."""

    group: ClassVar[str] = "from a trained model"
    applies_to: ClassVar[str] = "networks of the models' own architecture"

    paths: str = ""  # folders, safetensors files or Hub repositories, with commas
    weights: str = ""  # how much each counts, with commas; empty: all alike
    license_allow: str = ""  # which licences they may be under, with commas; empty: any

    def __post_init__(self) -> None:
        for name in ("paths", "weights", "license_allow"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(f"{name} is {getattr(self, name)!r}. Allowed: a text with commas. {_ADVICE}")
        if self.license_allow:
            allowed_licences(self.license_allow)
        if self.weights and len(self._names) > 1:
            assert self._shares

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `average` for every slot that the models have; integers are the first model's."""
        entries = self._entries(architecture)
        filled = (slot for slot in architecture.manifest.filled if slot.name in entries)
        covered = {slot.name: AVERAGED if slot.dtype.is_floating_point else FIRST for slot in filled}
        return complete_rules(architecture, covered)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Read the models' tensors of one slot after the other, and add them up."""
        entries = self._entries(architecture)

        def make(slot: Slot) -> Tensor:
            found = entries[slot.name]
            if not slot.dtype.is_floating_point:
                return found[0].tensor().to(slot.dtype)
            total: Tensor | None = None
            for donor, entry, share in zip(self._models, found, self._shares, strict=True):
                values = finite_tensor(donor.path, entry)
                values = values if values.dtype == torch.float64 else values.float()
                total = values.mul_(share) if total is None else total.add_(values, alpha=share)
                del values
            assert total is not None
            return total.to(slot.dtype)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        """Return where each model is from, its commit on the Hub, and the sha256 of its weights."""
        return {"averaged": {model.path: identified(model) for model in self._models}, "shares": list(self._shares)}

    def provenance(self) -> Mapping[str, Any]:
        """Return the models' origins and what their cards say of them."""
        return joint_provenance(self._models)

    def remarks(self) -> Sequence[str]:
        """Return whose average is of use, and what does not average."""
        return (
            "An average is of use where all models come from one ancestor; running statistics of batch norms are "
            "averaged, too, and should be estimated again.",
        )

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.paths.split(",") if name.strip())

    @cached_property
    def _models(self) -> tuple[Trained, ...]:
        """The models; one whose licence is not allowed is an error, and so are licences that exclude each other."""
        if not 2 <= len(self._names) <= MAX_MODELS:
            raise OptionError(f"average needs 2 to {MAX_MODELS} models; given were {len(self._names)}. {_ADVICE}")
        models = tuple(Trained(path=name, init="average", what="trained model", advice=_ADVICE) for name in self._names)
        for model in models if self.license_allow else ():
            check_licence(model.path, model.provenance(), allowed_licences(self.license_allow))
        joint_provenance(models)
        return models

    @cached_property
    def _shares(self) -> tuple[float, ...]:
        """How much each model counts; together 1."""
        count = len(self._names)
        if not self.weights:
            return (1 / count,) * count
        try:
            given = [float(word) for word in self.weights.split(",")]
        except ValueError:
            given = []
        total = sum(given)
        if len(given) != count or any(not 0 <= one <= 1e6 for one in given) or not total > 0:
            raise OptionError(
                f"weights is {one_line(repr(self.weights))}. Allowed: {count} numbers from 0 on, not all 0, with "
                f"commas. Type: --init 'average:{one_line(self.paths)}?weights={','.join(['1'] * count)}'"
            )
        return tuple(one / total for one in given)

    def _entries(self, architecture: Architecture) -> dict[str, tuple[Stored, ...]]:
        """Return what each model stores for each slot that they have.

        Raises:
            OptionError: One of them lacks a slot that another one has, or has it in another shape.
        """
        found: dict[str, tuple[Stored, ...]] = {}
        for slot in architecture.manifest.filled:
            stored = [(model, _stored(model, architecture.manifest, slot)) for model in self._models]
            known = [(model, entry) for model, entry in stored if entry is not None]
            for model, entry in known:
                if entry.shape != slot.shape:
                    raise OptionError(
                        f"{model.path!r} has {one_line(slot.name)!r} of shape {entry.shape}, {architecture.spec} of "
                        f"{slot.shape}: models of one architecture have an average. Others: --init inherit:DONOR"
                    )
            if known and len(known) < len(stored):
                lacking = next(model.path for model, entry in stored if entry is None)
                raise OptionError(
                    f"{lacking!r} has no tensor {one_line(slot.name)!r}, which {known[0][0].path!r} has: models of one "
                    "architecture have an average. Others: --init inherit:DONOR"
                )
            if known:
                found[slot.name] = tuple(entry for _, entry in known)
        if not found:
            raise OptionError(
                f"{', '.join(self._names)}: none has a tensor of {architecture.spec}. Give their own architecture"
            )
        return found


def _stored(model: Trained, manifest: Manifest, slot: Slot) -> Stored | None:
    """Return what a model stores for a slot, under one of its names."""
    found = (model.find(name) for name in manifest.names_of(slot.name))
    return next((entry for entry in found if entry is not None), None)
