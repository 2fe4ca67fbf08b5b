"""What `--then` makes: another initializer's weights, changed by one modifier after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, final

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import LinearMap, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Composed, NamedTensors, ResolvedInitializer, idle_reason, initializer_of
from paramgen.initializers.library import DEFAULTS, KEPT
from paramgen.modelcard.markdown import shell
from paramgen.modifiers import Modifier, NetworkModifier, SlotModifier, modifier_of
from paramgen.modifiers.constraints import Constraint
from paramgen.modifiers.masking.criteria import WholeNetwork
from paramgen.registry import Spec
from paramgen.registry.chains import THEN, join_chain, split_chain

Targets = Mapping[str, LinearMap]


@final
@dataclass(frozen=True, kw_only=True)
class Modified(Composed):
    """Another initializer whose weights are changed by modifiers, in the order in which they are named.

    What a live module keeps stays as it is. The rule of a slot that is changed has the names of its modifiers behind
    its own: `he|lowrank|scale`.
    """

    runs_network: ClassVar[bool] = False
    slot_by_slot: ClassVar[bool] = True
    group: ClassVar[str] = "others"

    init: str
    then: tuple[str, ...]
    _modifiers: tuple[Modifier, ...] = field(default=(), init=False, repr=False, compare=False)
    _constraints: list[Constraint] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_modifiers", tuple(map(modifier_of, self.then)))
        _refuse_undone(self.then, self._modifiers)
        self.keep(lambda: initializer_of(self.init))
        together = [each for each in self._modifiers if isinstance(each, NetworkModifier)]
        runs = self.inner.runs_network or any(each.runs_network for each in together)
        object.__setattr__(self, "runs_network", runs)
        object.__setattr__(self, "slot_by_slot", self.inner.slot_by_slot and not together)

    def resolve(self, architecture: Architecture, graph: Graph) -> ResolvedInitializer:
        """Return the same changes of what the inner initializer is resolved to for this network.

        Raises:
            OptionError: The inner initializer fills nothing, or a modifier changes nothing.

        """
        inner = self.inner.resolve(architecture, graph)
        init = self.init if inner.choice is None else inner.choice.init
        resolved = replace(self, init=init, _inner=inner.initializer)
        resolved._refuse_idle(architecture, graph)
        choice = None if inner.choice is None else replace(inner.choice, init=join_chain(init, self.then))
        return ResolvedInitializer(initializer=resolved, choice=choice)

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return why the inner initializer can fill nothing of a network; None where it can."""
        return self.inner.hindrance(architecture, graph)

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return the inner rules, with the names of the modifiers behind those of slots that are changed."""
        rules = dict(self.inner.rules(architecture, graph))
        for name, changes in self._changes(architecture, graph, rules).items():
            rules[name] += changes
        return rules

    def shares(self, architecture: Architecture, graph: Graph) -> Mapping[str, Mapping[str, int]]:
        """Return the inner initializer's, by the rules' new names."""
        changes = self._changes(architecture, graph, self.inner.rules(architecture, graph))
        return {
            name: {f"{rule}{changes.get(name, '')}": count for rule, count in each.items()}
            for name, each in self.inner.shares(architecture, graph).items()
        }

    def builds_on(self, architecture: Architecture, graph: Graph) -> frozenset[str]:
        """Return the inner initializer's, and the slots whose default values are changed."""
        rules = self.inner.rules(architecture, graph)
        changed = {name for name in self._changes(architecture, graph, rules) if rules[name] in DEFAULTS}
        return self.inner.builds_on(architecture, graph) | changed

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Change each tensor as it comes, or all of them together where a modifier needs all."""
        if any(isinstance(each, NetworkModifier) for each in self._modifiers):
            architecture = replace(architecture, manifest=architecture.manifest.whole())
        targets = self._targets(architecture, graph, self.inner.rules(architecture, graph))
        tensors = self.inner.tensors(architecture, graph, seed=seed)
        for kind, modifier, maps in zip(self._names, self._modifiers, targets, strict=True):
            if isinstance(modifier, SlotModifier):
                tensors = _changed(tensors, architecture, modifier, maps, seed=seed, stream=kind)
            elif isinstance(modifier, NetworkModifier):
                tensors = self._changed_together(tensors, architecture, graph, modifier, maps, seed=seed)
        return tensors

    @property
    def structures(self) -> frozenset[str]:
        """What the modifiers give the weights, such as zeros."""
        return frozenset(each.structure for each in self._modifiers)

    def constraint(self) -> Constraint | None:
        """Return the constraint of the last prediction, all tensors of which were read."""
        return self._constraints[-1] if self._constraints else None

    def remarks(self) -> Sequence[str]:
        """Return the inner initializer's, and what the constraint leaves of the weights."""
        return (*self.inner.remarks(), *(each.remark() for each in self._constraints))

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the inner initializer, and the modifiers."""
        return {"of": self.of(self.init), "then": list(self.then)}

    def _changed_together(
        self,
        tensors: NamedTensors,
        architecture: Architecture,
        graph: Graph,
        modifier: NetworkModifier,
        maps: Targets,
        *,
        seed: int,
    ) -> NamedTensors:
        """Collect all tensors, change them, and remember the constraint, which what is all zero has no part in."""
        made = dict(tensors)
        maps = {name: each for name, each in maps.items() if bool(made[name].any())}
        if not maps:
            name = self._names[self._modifiers.index(modifier)]
            raise OptionError(
                f"{name!r} changes nothing: every weight that it may change is zero. Type another initializer: "
                "--init he"
            )
        network = WholeNetwork(architecture=architecture, graph=graph, tensors=made, maps=maps, seed=seed)
        found = modifier.change_together(network)
        self._constraints[:] = [found.constraint]
        yield from found.tensors.items()

    @property
    def _names(self) -> list[str]:
        return [Spec.parse(spec.partition("?")[0]).kind for spec in self.then]

    def _targets(self, architecture: Architecture, graph: Graph, rules: Mapping[str, str]) -> list[Targets]:
        """Return the weights that each modifier changes."""
        maps = linear_maps_of(graph, architecture.manifest)
        free = {name: each for name, each in maps.items() if rules.get(name, KEPT) != KEPT}
        return [{name: each for name, each in free.items() if modifier.changes(each)} for modifier in self._modifiers]

    def _changes(self, architecture: Architecture, graph: Graph, rules: Mapping[str, str]) -> dict[str, str]:
        """Return what the rule of each slot that is changed gets behind its own name."""
        found: dict[str, str] = {}
        for kind, targets in zip(self._names, self._targets(architecture, graph, rules), strict=True):
            for name in targets:
                found[name] = f"{found.get(name, '')}{THEN}{kind}"
        return found

    def _refuse_idle(self, architecture: Architecture, graph: Graph) -> None:
        """Raise OptionError where the inner initializer fills nothing, or a modifier changes nothing."""
        rules = self.inner.rules(architecture, graph)
        if self.inner.fills_something and set(rules.values()) <= set(DEFAULTS):
            why = idle_reason(self.inner, architecture, graph)
            raise OptionError(f"{self.init.partition('?')[0]!r} fills nothing of {architecture.spec!r}: {why}")
        for kind, modifier, targets in zip(
            self._names, self._modifiers, self._targets(architecture, graph, rules), strict=True
        ):
            if not targets:
                maps = linear_maps_of(graph, architecture.manifest).values()
                kept = any(modifier.changes(each) for each in maps)
                why = (
                    "what the module holds is kept. Type another initializer: --init he"
                    if kept
                    else modifier.hindrance()
                )
                raise OptionError(f"{kind!r} changes nothing of {architecture.spec!r}: {why}")


def _changed(
    tensors: NamedTensors, architecture: Architecture, modifier: SlotModifier, maps: Targets, *, seed: int, stream: str
) -> NamedTensors:
    """Change each tensor as it comes."""
    for name, tensor in tensors:
        if name in maps:
            tensor = modifier.changed(architecture.manifest[name], maps[name], tensor, seed=seed, stream=stream)
        yield name, tensor


def modified(chain: str) -> Modified:
    """Return the initializer that a chain names, `he|lowrank?rank=8|scale:0.5`."""
    init, then = split_chain(chain)
    if not init:
        raise OptionError(
            f"{one_line(chain)!r} names no initializer before the first {THEN}. Type: --init 'he|scale:0.5'"
        )
    join_chain(init, then)  # refuses a modifier that is missing
    return Modified(init=init, then=then)


def _refuse_undone(then: tuple[str, ...], chain: tuple[Modifier, ...]) -> None:
    """Raise OptionError where a modifier undoes what an earlier one made."""
    for index, later in enumerate(chain):
        for before, earlier in zip(then[:index], chain, strict=False):
            if earlier.structure and later.undoes(earlier.structure):
                raise OptionError(
                    f"{one_line(then[index])!r} undoes the {earlier.structure} of {one_line(before)!r}. "
                    f"Leave one of them out. Type: --then {shell([before])}"
                )
