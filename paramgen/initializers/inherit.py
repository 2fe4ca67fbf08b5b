"""Weights of any trained model of the same family, at other sizes (Net2Net; Chen et al., 2016, arXiv:1511.05641).

The donor is traced, and every slot takes the tensor of the same name or, across libraries, of the same address. Axes
that shrink are selected from evenly (Xu et al., 2024, arXiv:2311.18823), those that grow are copied so that the
function is kept where that is possible, kernels and tables of positions are resized, blocks are taken at even depths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Final, final

from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.model_families import FAMILY_LABELS
from paramgen.graphs.schema import Graph
from paramgen.initializers import (
    Choice,
    Initializer,
    NamedTensors,
    ResolvedInitializer,
    check_number,
    initializers,
)
from paramgen.initializers.grow import Grow
from paramgen.initializers.inheritance.choosing import chosen_donor
from paramgen.initializers.inheritance.donor import ADVICE, Donor
from paramgen.initializers.inheritance.licences import allowed_licences, check_licence, identified, joint_provenance
from paramgen.initializers.inheritance.network import Network
from paramgen.initializers.inheritance.parts import part_plans
from paramgen.initializers.inheritance.plan import InheritancePlan
from paramgen.initializers.inheritance.transfer import inherited
from paramgen.initializers.library import complete_rules, default_weights, fill_by_rules, library_rule
from paramgen.language.families import FAMILIES
from paramgen.slots.manifest import Slot

MAX_NOISE: Final = 10.0


@final
@initializers.register("inherit")
@dataclass(frozen=True, kw_only=True)
class Inherit(Initializer):
    """Weights of a trained model of any width, depth and library, inherit:FOLDER_OR_REPO; or of the nearest one."""

    group: ClassVar[str] = "from a trained model"
    applies_to: ClassVar[str] = "networks of the donor's family"

    path: str = ""  # a folder, a safetensors file or a Hub repository, `@revision` after it
    arch: str = ""  # the network of a file, or of a folder without a config.json, such as timm:resnet18
    head: bool = True  # whether the output's classes are taken where they are known to be the same
    noise: float | int = 0.3  # what tells copies of a channel apart, as a multiple of the weights' std; 0: nothing does
    with_: str = ""  # further donors, with commas: each gives what those before it lack
    into: str = ""  # the donor is for the slots whose names begin with it, such as encoder; the others for the rest
    license_allow: str = ""  # which licences the donor may be under, with commas; empty: where none is named, any use
    yes: bool = False  # whether the nearest published model may be downloaded, where no donor is named

    _growths: list[tuple[Architecture, Grow | None]] = field(default_factory=list, repr=False, compare=False)
    _plans: list[InheritancePlan] = field(
        default_factory=list, repr=False, compare=False
    )  # a donor each, of the last network

    def __post_init__(self) -> None:
        for name in ("path", "arch", "with_", "into", "license_allow"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(f"{name} is {getattr(self, name)!r}. Allowed: a text. {ADVICE}")
        for name in ("head", "yes"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} is {getattr(self, name)!r}. Allowed: true and false")
        self._allowed  # noqa: B018  # an unknown licence is an error
        check_number("inherit:DONOR", "noise", self.noise, example=0.3, most=MAX_NOISE)

    def resolve(self, architecture: Architecture, graph: Graph) -> ResolvedInitializer:
        """Return itself, or the one of the nearest published model, where no donor is named."""
        if self.path:
            return ResolvedInitializer(initializer=self)
        network = Network(architecture=architecture, graph=graph)
        chosen = chosen_donor(network, allowed=self._allowed, yes=self.yes)
        check_licence(chosen.path, Donor(path=chosen.path).trained.provenance(), self._allowed)
        own = replace(self, path=chosen.path, _growths=[], _plans=[])
        reason = f"{FAMILY_LABELS[network.family]}: {chosen}"
        choice = Choice(init=f"inherit:{chosen.path}", family=network.family, reason=reason)
        return ResolvedInitializer(initializer=own, choice=choice)

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that its donor is not named, as a published one is not downloaded without a request."""
        return None if self.path else f"no donor is named. {ADVICE}; paramgen donors lists published ones"

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return what is done to each slot, `inherit:select` for instance; the library's rule where nothing fits."""
        if (grow := self._grow(architecture)) is not None:
            return grow.rules(architecture, graph)
        filled = architecture.manifest.filled
        found = ((slot, self._plan(architecture, graph, slot)) for slot in filled)
        return complete_rules(architecture, {slot.name: self._rule(plan, slot) for slot, plan in found if plan})

    def shares(self, architecture: Architecture, graph: Graph) -> Mapping[str, Mapping[str, int]]:
        """Return the counts of slots that are the donor's in part: rows of other classes or tokens are not."""
        if self._grow(architecture) is not None:
            return {}
        found = {}
        for slot in architecture.manifest.filled:
            plan = self._plan(architecture, graph, slot)
            covered = 0 if plan is None else plan.covered(slot)
            if plan is not None and 0 < covered < slot.elements:
                found[slot.name] = {self._rule(plan, slot): covered, library_rule(slot): slot.elements - covered}
        return found

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Read and change one tensor after the other; default values and what tells copies apart are random."""
        if (grow := self._grow(architecture)) is not None:
            return grow.tensors(architecture, graph, seed=seed)

        def make(slot: Slot) -> Tensor:
            plan = self._plan(architecture, graph, slot)
            assert plan is not None  # by its rule
            return inherited(plan, slot, lambda: default_weights(slot, seed), seed=seed, noise=float(self.noise))

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        """Return where each donor is from, its commit on the Hub, the sha256 of its weights, and its network."""
        if not self.path:  # the network decides
            return {}
        first, *others = self._donors
        known = {**first.trained.describe(), "donor_arch": first.network.architecture.spec}
        return known | ({"with": {each.path: identified(each.trained) for each in others}} if others else {})

    def provenance(self) -> Mapping[str, Any]:
        """Return the origin of the donors and what their cards say of them."""
        if not self.path:
            return {}
        trained = [donor.trained for donor in self._donors]
        return trained[0].provenance() if len(trained) == 1 else joint_provenance(trained)

    def assumptions(self, architecture: Architecture, graph: Graph) -> Sequence[str]:
        """Return what was decided of the output's classes, and whether the function is the donor's."""
        kept = "It computes what the donor does, up to constants such as the epsilon of a norm."
        if self._grow(architecture) is not None:
            return (kept,)
        plans = self._all_plans(architecture, graph)
        said = dict.fromkeys(
            plan.head for plan in plans if plan.head and not plan.network.heads.isdisjoint(plan.pieces)
        )
        lone = plans[0].head if len(plans) == 1 and plans[0].head not in said else ""
        return (*said, *([lone] if lone else []), *([kept] if len(plans) == 1 and plans[0].keeps_function else []))

    @cached_property
    def _allowed(self) -> frozenset[str]:
        return allowed_licences(self.license_allow)

    @cached_property
    def _donors(self) -> tuple[Donor, ...]:
        """The donors; one whose licence is not allowed is an error, and so are licences that exclude each other."""
        others = [path.strip() for path in self.with_.split(",") if path.strip()]
        donors = (Donor(path=self.path, arch=self.arch.replace("%26", "&")), *(Donor(path=path) for path in others))
        for donor in donors if self.license_allow else ():
            check_licence(donor.path, donor.trained.provenance(), self._allowed)
        if others:
            joint_provenance([donor.trained for donor in donors])
        return donors

    def _grow(self, architecture: Architecture) -> Grow | None:
        """Return what grows a GPT-2, Llama or BERT exactly; None for other networks, and where something shrinks."""
        if not self._growths or self._growths[0][0] is not architecture:
            self._growths[:] = [(architecture, self._growth_into(architecture))]
        return self._growths[0][1]

    def _growth_into(self, architecture: Architecture) -> Grow | None:
        model_type = architecture.layout.config.get("model_type")
        if self.arch or self.with_ or self.into or model_type not in FAMILIES:
            return None
        if self._donors[0].config.get("model_type") != model_type:
            return None
        grow = Grow(path=self.path)
        return grow if grow.grows(architecture) else None

    def _plan(self, architecture: Architecture, graph: Graph, slot: Slot) -> InheritancePlan | None:
        """Return the plan of the donor that a slot takes something of; None where none has anything for it."""
        return next((plan for plan in self._all_plans(architecture, graph) if slot.name in plan.pieces), None)

    def _rule(self, plan: InheritancePlan, slot: Slot) -> str:
        rule = plan.rule(slot)
        return rule if plan.donor is self._donors[0] else rule.replace(":", ":with:", 1)

    def _all_plans(self, architecture: Architecture, graph: Graph) -> Sequence[InheritancePlan]:
        """Return the plan of each donor for a network, which are made once."""
        if not self._plans or self._plans[0].network.graph is not graph:
            network = Network(architecture=architecture, graph=graph)
            self._plans[:] = part_plans(self._donors, network, head=self.head, into=self.into)
        return self._plans
