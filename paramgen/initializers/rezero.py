"""Residual branches that begin at zero (ReZero, Bachlechner et al., 2020, arXiv:2003.04887), on any initialization."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, final

import torch

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.residual import CLOSINGS, Closing, ResidualBranch, residual_branches
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Control, NamedTensors, initializers
from paramgen.initializers.library import LIBRARY

REZERO: Final = "rezero"
FIXUP: Final = "fixup"


@final
@initializers.register(REZERO)
@dataclass(frozen=True, kw_only=True)
class ReZero(Control):
    """Another initializer with every residual branch closed, rezero:INIT (Bachlechner et al., 2020).

    A branch is closed at its gate, x + alpha F(x) with alpha = 0 (eq. 3; SkipInit, De & Smith, 2020), else at the scale
    of its last norm (zero-gamma, Goyal et al., 2017), else at its last weight. A network without one of these begins as
    what its skip connections compute.
    """

    runs_network: ClassVar[bool] = False
    fills_something: ClassVar[bool] = True
    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "gates, norms or last weights of residual branches"

    init: str = LIBRARY  # the initializer of everything else, with its options
    by: Literal["auto", "gate", "norm", "weight", "fixup"] = "auto"
    """`fixup` closes last weights, divides the others of a branch and zeroes the output (Zhang et al., 2019)."""

    def __post_init__(self) -> None:
        if self.by not in ("auto", *CLOSINGS, FIXUP):
            raise OptionError(
                f"by is {self.by!r}. Allowed: auto, gate, norm, weight and fixup. Type: --init 'rezero?by=norm'"
            )
        super().__post_init__()

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that there is no residual branch, or none that can be closed as requested."""
        if self._branches(architecture, graph):
            return None
        if self.by == "auto" or not residual_branches(graph, architecture.manifest, CLOSINGS):
            return "it has no residual branch. Type: --init he"
        ends = "last weight without a norm behind it" if self.by == FIXUP else self.by
        return f"no residual branch of it ends with a {ends}. Type: --init rezero"

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `rezero gate`, `rezero norm` or `rezero weight` for what is zero, the inner rules elsewhere."""
        inner = dict(self.inner.rules(architecture, graph))
        found = self._zeros(architecture, graph) | dict.fromkeys(self._divided(architecture, graph), "rezero fixup")
        return inner | {name: rule for name, rule in found.items() if name in inner}

    def shares(self, architecture: Architecture, graph: Graph) -> Mapping[str, Mapping[str, int]]:
        """Return the inner initializer's for the slots that stay as they are."""
        changed = self._zeros(architecture, graph).keys() | self._divided(architecture, graph).keys()
        return {name: each for name, each in self.inner.shares(architecture, graph).items() if name not in changed}

    def builds_on(self, architecture: Architecture, graph: Graph) -> frozenset[str]:
        """Return the inner initializer's, and the weights that are divided."""
        return self.inner.builds_on(architecture, graph) | frozenset(self._divided(architecture, graph))

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield the inner tensors with zeros where branches are closed."""
        zeros, divided = self._zeros(architecture, graph), self._divided(architecture, graph)
        for name, tensor in self.inner.tensors(architecture, graph, seed=seed):
            if name in zeros:
                yield name, torch.zeros_like(tensor)
            else:
                yield name, tensor * divided[name] if name in divided else tensor

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the inner initializer, if that is not the default one."""
        return {} if self.init == LIBRARY else super().describe()

    def _branches(self, architecture: Architecture, graph: Graph) -> list[ResidualBranch]:
        by: tuple[Closing, ...] = CLOSINGS
        if self.by != "auto":
            by = ("weight",) if self.by == FIXUP else (self.by,)
        return residual_branches(graph, architecture.manifest, by)

    def _zeros(self, architecture: Architecture, graph: Graph) -> dict[str, str]:
        """Return the slots that are zero and their rules."""
        found: dict[str, str] = {}
        for branch in self._branches(architecture, graph):
            found |= dict.fromkeys((*branch.closing, *branch.shifts), f"{REZERO} {branch.closed_by}")
        if found and self.by == FIXUP:  # rule 1: the output begins at zero, too
            maps = linear_maps_of(graph, architecture.manifest).values()
            found |= {each.slot: f"{REZERO} {FIXUP}" for each in maps if each.output}
        return found

    def _divided(self, architecture: Architecture, graph: Graph) -> dict[str, float]:
        """Return the factors of Fixup's rule 2: L^(-1 / (2m - 2)) for the m - 1 first weights of L branches.

        In the authors' code they are L^(-1/2) in blocks of two convolutions and L^(-1/4) in blocks of three, behind
        He's std by the fan-out: `rezero:he?mode=fan_out` begins with that.
        """
        if self.by != FIXUP:
            return {}
        branches = self._branches(architecture, graph)
        zeros = self._zeros(architecture, graph)
        found: dict[str, float] = {}
        for branch in branches:
            first = [slot for slot in branch.weights if slot not in zeros]
            found |= {slot: len(branches) ** (-1 / (2 * len(first))) for slot in first}
        return found
