"""A prediction: one architecture, one initializer, one seed. Nothing is computed before the tensors are asked for."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from paramgen.architectures import Architecture, Inputs, resolve
from paramgen.architectures.inputs import typed
from paramgen.architectures.module import from_module
from paramgen.architectures.repository import pinned
from paramgen.errors import OptionError
from paramgen.graphs.cache import cached_graph
from paramgen.graphs.fallbacks import STRICT, Tracing
from paramgen.graphs.schema import Graph
from paramgen.graphs.wire import MAX_BYTES, graph_from_json
from paramgen.initializers import Chosen, Initializer, initializer_of
from paramgen.manifest import Slot

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@final
@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for, as it is typed: `arch` is None for a live module, and `example_input` for none.

    An example input that cannot be typed is an empty text.
    """

    arch: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    example_input: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it for a record."""
        return {"arch": self.arch, "overrides": dict(self.overrides), "example_input": self.example_input}


@final
@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Iterate over it for (name, tensor) pairs, each slot once, in the order in which they come."""

    architecture: Architecture
    graph: Graph
    initializer: Initializer
    init: str
    seed: int
    dtype: torch.dtype | None  # of floating-point slots; None: as the architecture has them
    asked: Asked = Asked()
    part: frozenset[str] | None = None  # the slots to yield; None: all

    def only(self, names: Sequence[str]) -> "Prediction":
        """Return the part of a prediction that fills the slots named.

        What is drawn slot by slot comes in the order of `names`, and nothing else is drawn. A hypernet computes as much
        as before, in its own order.
        """
        architecture = replace(self.architecture, manifest=self.architecture.manifest.only(names))
        return replace(self, architecture=architecture, part=frozenset(names))

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        manifest = self.architecture.manifest
        tensors = self.initializer.tensors(self.architecture, self.graph, seed=self.seed)
        while True:
            with torch.no_grad():  # around each step: what the caller does in between is his
                found = next(tensors, None)
            if found is None:
                return
            name, tensor = found
            if self.part is None or name in self.part:
                yield name, tensor.detach().to(self.dtype_of(manifest[name]))

    @property
    def start(self) -> Initializer:
        """The initializer that fills it; where one was chosen, that one."""
        return self.initializer.initializer if isinstance(self.initializer, Chosen) else self.initializer

    @cached_property
    def rules(self) -> Mapping[str, str]:
        """The rule that fills each slot; the tied ones are left out."""
        return self.initializer.rules(self.architecture, self.graph)

    @property
    def chosen(self) -> Mapping[str, str]:
        """What was chosen for this network, its family, and why; empty where the start was named."""
        return self.initializer.chosen if isinstance(self.initializer, Chosen) else {}

    @property
    def by_rule(self) -> dict[str, int]:
        """Number of elements that each rule fills, the largest first."""
        counts: Counter[str] = Counter()
        for name, rule in self.rules.items():
            counts[rule] += self.architecture.manifest[name].elements
        return dict(counts.most_common())

    def dtype_of(self, slot: Slot) -> torch.dtype:
        """Return the dtype in which a slot is written; integers and booleans stay what they are.

        Complex numbers have one that files hold, complex64: whatever dtype is asked for, they are written in it.
        """
        if self.dtype is not None and slot.dtype.is_complex:
            return torch.complex64
        return self.dtype if self.dtype is not None and slot.dtype.is_floating_point else slot.dtype

    def state_dict(self) -> dict[str, Tensor]:
        """Compute every tensor; tied names share one."""
        manifest = self.architecture.manifest
        filled = dict(self)
        return {name: filled[slot.tied_to or name] for name, slot in manifest.items()}


def prepare(
    arch: "str | nn.Module | None",
    *,
    init: str = "auto",
    seed: int = 0,
    dtype: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    example_input: Inputs | None = None,
    tokenizer: str | None = None,
    tracing: Tracing | None = None,
) -> Prediction:
    """Build and trace `arch`, or the initializer's own, and choose the initializer; check every option first."""
    if seed < 0 or seed >= 2**63:
        raise OptionError(f"The seed is {seed}; allowed are 0 to 2**63 - 1. Type: --seed 0")
    if dtype is not None and dtype not in DTYPES:
        raise OptionError(f"Unknown dtype {dtype!r}. Known: {', '.join(DTYPES)}. Type: --dtype float32")
    initializer = initializer_of(init)
    if tokenizer is not None:
        initializer = initializer.reading(tokenizer)
    initializer.describe()  # reads its files: fail before the architecture is built
    if arch is None:
        arch = _own_architecture(init, initializer)
    architecture, graph = describe(arch, overrides=overrides, example_input=example_input, tracing=tracing or Tracing())
    asked = Asked(
        arch=None if isinstance(arch, nn.Module) else pinned(arch, architecture.spec),
        overrides=overrides or {},
        example_input=None if example_input is None else typed(example_input),
    )
    return settled(architecture, graph, initializer, init=init, seed=seed, dtype=dtype, asked=asked)


def _own_architecture(init: str, initializer: Initializer) -> str:
    own = initializer.own_architecture()
    if own is None:
        raise OptionError(
            f"No architecture is given, and {init.partition('?')[0]!r} has none of its own. Type: --arch vit_b16, or a "
            "name that `paramgen list architectures` shows"
        )
    return own


def settled(
    architecture: Architecture,
    graph: Graph,
    initializer: Initializer,
    *,
    init: str,
    seed: int,
    dtype: str | None,
    asked: Asked,
) -> Prediction:
    """Return the prediction for an architecture that is built and traced; `init` is the initializer's name."""
    return Prediction(
        architecture=architecture,
        graph=graph,
        initializer=initializer.settled(architecture, graph),
        init=init,
        seed=seed,
        dtype=None if dtype is None else DTYPES[dtype],
        asked=asked,
    )


def describe(
    arch: "str | nn.Module",
    *,
    overrides: Mapping[str, Any] | None = None,
    example_input: Inputs | None = None,
    tracing: Tracing = STRICT,
) -> tuple[Architecture, Graph]:
    """Return the architecture and its graph; `arch` may also be the path of a graph's JSON."""
    if isinstance(arch, nn.Module):
        if overrides:
            raise OptionError("Overrides change a named architecture's config; a live module has its own.")
        architecture = from_module(arch, example_input)
    elif (text := _graph_text(arch)) is not None:
        if overrides:
            raise OptionError("--set changes a named architecture; a graph is what it is. Make another: paramgen graph")
        return graph_from_json(text)
    else:
        architecture = resolve(arch, overrides, example_input)
    return architecture, cached_graph(architecture, tracing)


def _graph_text(arch: str) -> str | None:
    """Return the content of a graph's JSON file, or None if `arch` is anything else."""
    path = Path(arch)
    if path.suffix != ".json" or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        start = file.read(4096)
        return start + file.read(MAX_BYTES + 1) if '"paramgen_graph"' in start or '"nodes"' in start else None
