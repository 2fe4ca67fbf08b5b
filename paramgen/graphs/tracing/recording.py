"""Follow a forward pass function by function and write it down as nodes and edges."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from math import prod
from typing import Any, final

import numpy as np
from jaxtyping import Int64
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Attribute, Node
from paramgen.graphs.tracing import devices, functions
from paramgen.graphs.tracing.functions import Derived
from paramgen.slots.manifest import Manifest, state_of
from paramgen.slots.torch_internals import FakeTensorDeviceMismatchError, tree_map


@final
class Recording(TorchFunctionMode):
    """Nodes and edges of one forward pass. Tensors are distinguished by identity, so all of them are kept alive."""

    def __init__(self, module: nn.Module, manifest: Manifest, device: str = "meta") -> None:
        super().__init__()
        self._device = device  # on which the network is followed
        self.nodes: list[Node] = []
        self.edges: set[tuple[int, int]] = set()
        self._running: list[tuple[nn.Module, str, BaseException | None]] = []  # with what each found being handled
        self._failed: tuple[BaseException, str] | None = None  # the last that left a module, and the first it left
        self._manifest = manifest
        self._paths = {id(child): path for path, child in module.named_modules()}
        self._streams: dict[int, frozenset[int]] = {}  # tensor -> the nodes whose data it holds
        self._derived: dict[int, Derived] = {}
        self._alive: list[Any] = []
        self._marks: list[int] = []
        for name, tensor in state_of(module).items():
            if isinstance(tensor, nn.Parameter):
                self._derived[id(tensor)] = Derived((manifest[name].tied_to or name,))

    def input(self, name: str, tensor: Tensor) -> None:
        """Add an input node."""
        self._produce([tensor], self._node("input", name, shape=tuple(tensor.shape)))

    def output(self, value: Any) -> None:
        """Add the output node behind everything that the network returns."""
        sources = frozenset[int]().union(*(self._streams.get(id(tensor), frozenset()) for tensor in tensors_in(value)))
        self._connect(sources, self._node("output", "output"))

    def unreached(self) -> tuple[str, ...]:
        """Return the parameters that have no node yet."""
        reached = {node.slot for node in self.nodes}
        return tuple(s.name for s in self._manifest.filled if s.kind == "parameter" and s.name not in reached)

    def isolate(self) -> None:
        """Give every parameter that no path reached a node without edges."""
        for slot in self.unreached():
            self._node("parameter", slot, slot=slot, shape=self._manifest[slot].shape)

    def edge_array(self) -> Int64[np.ndarray, "edges 2"]:
        """Return the edges, sorted."""
        return np.array(sorted(self.edges), dtype=np.int64).reshape(-1, 2)

    def watch(self, module: nn.Module) -> Iterator[RemovableHandle]:
        """Follow which submodule is running, and record norms that are written out by hand as norms."""
        for child in module.modules():
            yield child.register_forward_pre_hook(self._enter)
            yield child.register_forward_hook(self._leave, always_call=True)

    def where(self, error: BaseException | None = None) -> str:
        """Return the path of the innermost module that an error left, or else of the one that is running."""
        if error is not None and self._failed is not None and self._failed[0] is error:
            return self._failed[1]
        return self._running[-1][1] if self._running else ""

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._running.append((module, self._paths.get(id(module), ""), sys.exc_info()[1]))
        self._marks.append(len(self.nodes))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """Note that a module has returned, or that an error leaves it, which whoever called it may catch."""
        if not self._running or self._running[-1][0] is not module:
            return  # it failed before it was entered, in a hook of its own
        (_, path, handled), mark = self._running.pop(), self._marks.pop()
        error = sys.exc_info()[1]
        if error is not None and error is not handled:
            inner = self._failed[1] if self._failed and self._failed[0] in (error, error.__context__) else path
            self._failed = error, inner
            return
        weight = f"{path}.weight" if path else "weight"
        written_out = (
            "norm" in type(module).__name__.lower()
            and isinstance(output, Tensor)
            and weight in self._manifest
            and len(self._manifest[weight].shape) == 1
            and next(module.children(), None) is None
            and not any(node.op in NORMS for node in self.nodes[mark:])
        )
        if not written_out:
            return
        sources = frozenset[int]().union(*(self._streams.get(id(tensor), frozenset()) for tensor in tensors_in(args)))
        if not sources or max(sources) >= mark:
            return
        del self.nodes[mark:]
        self.edges = {edge for edge in self.edges if edge[1] < mark}
        bias = f"{path}.bias" if f"{path}.bias" in self._manifest else None
        self._chain(
            "rms_norm",
            [output],
            sources,
            (Derived((self._canonical(weight),)), None if bias is None else self._of(bias)),
            {},
        )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function and write down what it did."""
        name = functions.name_of(func)
        if (stays := devices.moved(name, args)) is not None:
            return stays
        args, keywords = devices.redirected(name, args, kwargs or {}, self._device)
        try:
            outcome = func(*args, **keywords)
        except FakeTensorDeviceMismatchError:  # a constant on the CPU, which any real device would have met there
            moved_args, moved_keywords = tree_map(_to_meta, (args, keywords))
            outcome = func(*moved_args, **moved_keywords)
        results = list(tensors_in(outcome))
        if name == "setitem":
            results = [args[0]]
        if results:
            self._alive.append((args, keywords, outcome))
            self._note(name, args, keywords, results)
        return outcome

    def _note(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], results: list[Tensor]) -> None:
        given = list(tensors_in((args, kwargs)))
        sources = frozenset[int]().union(*(self._streams.get(id(tensor), frozenset()) for tensor in given))
        parameters = [self._derived[id(tensor)] for tensor in given if id(tensor) in self._derived]
        owned = functions.owned(name, args, kwargs, self._derived) if parameters else None
        if owned is not None and (sources or owned.op == "embedding"):
            self._chain(owned.op, results, sources, owned.parameters, owned.attributes)
        elif not sources:
            self._derive(name, parameters, results)
        elif self._is_node(name, given, parameters):
            self._operation(name, args, kwargs, (sources, parameters), results)
        else:
            self._produce(results, sources)

    def _is_node(self, name: str, given: list[Tensor], parameters: list[Derived]) -> bool:
        """Whether a function on data gets a node: it joins streams, or the vocabulary has its operation."""
        streams = {self._streams[id(tensor)] for tensor in given if id(tensor) in self._streams}
        joins = len(streams) > 1 or bool(parameters)
        op = functions.OPERATIONS.get(name)
        if op in ("sum", "multiply", "concat", "gather") or (op is None and name not in functions.READS):
            return joins and not name.startswith(("expand", "view", "reshape", "type", "to"))
        return op is not None

    def _operation(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: tuple[frozenset[int], list[Derived]],
        results: list[Tensor],
    ) -> None:
        """Add a node for a function without parameters of its own; parameters enter it from the side."""
        sources, parameters = inputs
        op = functions.OPERATIONS.get(name, "other")
        if op == "sum" and len(parameters) == 1 and len(self._manifest[parameters[0].slots[0]].shape) == 1:
            self._chain("bias", results, sources, (parameters[0],), {})
            return
        attributes: dict[str, Attribute] = {}
        if op in ("max_pool", "average_pool"):
            size = functions.integers(functions.pick(args, kwargs, 1, "kernel_size"))
            if name.startswith("adaptive"):
                op = "mean" if prod(size or (1,)) == 1 and op == "average_pool" else op
            elif size:
                attributes["kernel"] = size
        if op == "attention" and functions.attends_all(args, kwargs):
            attributes["mask"] = "none"
        sides = [self._side(derived) for derived in parameters]
        node = self._node(op, f"{self._here()}/{name}", shape=tuple(results[0].shape), attributes=attributes)
        self._connect(sources.union(sides), node)
        self._produce(results, node)

    def _chain(
        self,
        op: str,
        results: list[Tensor],
        sources: frozenset[int],
        roles: tuple[Derived | None, ...],
        attributes: Mapping[str, Attribute],
    ) -> None:
        """Put parameters on the path of the data: weight, then bias; recurrent layers have several of each."""
        last = sources
        for position, derived in enumerate(role for role in roles if role is not None):
            slot = max(derived.slots, key=lambda name: self._manifest[name].elements)
            vector = len(self._manifest[slot].shape) == 1
            kind = op if position == 0 or not vector else "bias"
            last = last.union(self._side(Derived((other,))) for other in derived.slots if other != slot)
            node = self._node(
                kind,
                slot,
                slot=slot,
                shape=self._manifest[slot].shape,
                attributes=attributes if position == 0 else {},
            )
            self._connect(last, node)
            last = frozenset((node,))
        self._produce(results, last)

    def _derive(self, name: str, parameters: list[Derived], results: list[Tensor]) -> None:
        """Note a tensor that is made from parameters, or from constants, alone."""
        if not parameters:
            return
        slots = tuple(dict.fromkeys(slot for derived in parameters for slot in derived.slots))
        swapped = parameters[0].swapped != (name in functions.TRANSPOSITIONS)
        for result in results:
            self._derived[id(result)] = Derived(slots, swapped)

    def _side(self, derived: Derived) -> int:
        """Add the node of a parameter that enters an operation from the side."""
        last: frozenset[int] = frozenset()
        node = -1
        for slot in derived.slots:
            node = self._node("parameter", slot, slot=slot, shape=self._manifest[slot].shape)
            self._connect(last, node)
            last = frozenset((node,))
        return node

    def _node(
        self,
        op: str,
        name: str,
        *,
        slot: str | None = None,
        shape: tuple[int, ...] = (),
        attributes: Mapping[str, Attribute] | None = None,
    ) -> int:
        self.nodes.append(Node(op=op, name=name, slot=slot, shape=shape, attributes=attributes or {}))
        return len(self.nodes) - 1

    def _connect(self, sources: frozenset[int], node: int) -> None:
        self.edges.update((source, node) for source in sources)

    def _produce(self, results: list[Tensor], node: int | frozenset[int]) -> None:
        stream = frozenset((node,)) if isinstance(node, int) else node
        for result in results:
            self._streams[id(result)] = stream
            self._alive.append(result)

    def _here(self) -> str:
        return self.where()

    def _canonical(self, name: str) -> str:
        return self._manifest[name].tied_to or name

    def _of(self, name: str) -> Derived:
        return Derived((self._canonical(name),))


def _to_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) and value.device.type != "meta" else value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples, mappings and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))
