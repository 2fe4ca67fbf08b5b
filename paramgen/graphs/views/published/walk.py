"""From the autograd graph of one forward pass on the meta device to a draft graph, as the published code walks it."""

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn

from paramgen.architectures import Inputs
from paramgen.errors import GraphError, TraceError
from paramgen.graphs.tracing.recording import tensors_in
from paramgen.graphs.views.published.attention import SoftmaxForm, attention_as
from paramgen.graphs.views.published.draft import Draft, Record
from paramgen.slots.torch_internals import FakeTensorMode, saved_kernel_size, tree_map

_Found = tuple[int | None, str]
"""Where consumers of an autograd node attach (None: nowhere), and the name they see."""

_NOWHERE: Final[_Found] = (None, "")


def walk(module: nn.Module, inputs: Inputs, softmax: SoftmaxForm, *, logits_only: bool) -> Draft:
    """Return the draft graph of `module`, which is on the meta device and comes back as it was given.

    Args:
        module: Followed in training mode, in which the published code meets a new network, if it can be.
        inputs: Of its forward pass.
        softmax: The form of fused attention.
        logits_only: Walk from the output of that name alone, if there is one.

    Raises:
        TraceError: The forward pass fails.
    """
    outputs = _forward(module, inputs, softmax)
    if logits_only and isinstance(getattr(outputs, "logits", None), Tensor):
        outputs = outputs.logits
    walker = _Walker(module)
    for output in tensors_in(outputs):
        if output.grad_fn is not None:
            walker.visit(output.grad_fn)
    if not walker.draft.records:
        raise GraphError(f"No output of {type(module).__name__} depends on a parameter that requires a gradient.")
    return walker.draft


class _Walker:
    def __init__(self, module: nn.Module) -> None:
        self.draft = Draft()
        self._found: dict[Any, _Found] = {}  # its keys keep the Python objects alive, on whose identity it relies
        # Of a tied parameter the last name counts.
        self._owners = {
            id(parameter): (f"{path}.{name}", child)
            for path, child in module.named_modules()
            for name, parameter in child.named_parameters(recurse=False)
        }

    def visit(self, root: Any) -> None:
        """Walk depth first from an autograd node; the stack is explicit because deep networks make deep graphs."""
        if root in self._found:
            return
        stack = [(root, *self._enter(root))]
        while stack:
            function, head, remaining = stack[-1]
            child = next(remaining, None)
            if child is None:
                stack.pop()
                if stack:
                    self._attach(stack[-1][1], self._found[function])
            elif child in self._found:
                self._attach(head, self._found[child])
            else:
                stack.append((child, *self._enter(child)))

    def _enter(self, function: Any) -> tuple[int | None, Iterator[Any]]:
        """Make the nodes of an autograd node; return the one its inputs attach to, and what is to be visited."""
        kind = type(function).__name__
        children = [child for child, _ in function.next_functions if child is not None]
        leaves = [child for child in children if id(getattr(child, "variable", None)) in self._owners]
        if leaves:
            links = [self._leaf(leaf) for leaf in leaves]
        elif hasattr(function, "variable"):  # a tensor that is no module's parameter
            self._found[function] = _NOWHERE
            return None, iter(())
        else:
            kernel = saved_kernel_size(function)
            links = [self.draft.add(Record(kind, kernel=None if kernel is None else tuple(kernel)))]
        self._found[function] = (links[-1], kind)
        return links[0], iter(children)

    def _leaf(self, leaf: Any) -> int:
        """Return the node of a parameter, the same one for every operation that consumes it."""
        if leaf in self._found and self._found[leaf][0] is not None:
            return int(self._found[leaf][0] or 0)
        name, owner = self._owners[id(leaf.variable)]
        link = self.draft.add(Record(name, shape=tuple(leaf.variable.shape), module=owner))
        self._found[leaf] = (link, name)
        return link

    def _attach(self, head: int | None, found: _Found) -> None:
        link, name = found
        if head is None or link is None or link == head:
            return
        # A bias hangs behind the weight that consumes the data.
        self.draft.connect(*((head, link) if "bias" in name else (link, head)))


def _forward(module: nn.Module, inputs: Inputs, softmax: SoftmaxForm) -> Any:
    """Run the forward pass on meta tensors, or on fake ones, or as it evaluates: the first that works."""
    failures: list[Exception] = []
    for training, fake in itertools.product((True, False), (False, True)):
        try:
            with _mode(module, training=training), attention_as(softmax):
                return _run(module, inputs, fake=fake)
        except Exception as error:  # a user's forward may raise anything
            failures.append(error)
    reason = (str(failures[0]).strip().splitlines() or [""])[0]
    raise TraceError(
        f"The forward pass of {type(module).__name__} fails: {type(failures[0]).__name__}: {reason}. "
        "Give the input that it takes: --example-input 2x3x32x32 (a shape, `:long` for indices) or --example-input "
        "file.py:function"
    ) from failures[0]


def _run(module: nn.Module, inputs: Inputs, *, fake: bool) -> Any:
    args, kwargs = tree_map(_to_meta, (tuple(inputs[0]), dict(inputs[1])))
    with torch.enable_grad(), torch.device("meta"):
        if not fake:
            return module(*args, **kwargs)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            args, kwargs = tree_map(lambda leaf: _to_fake(mode, leaf), (args, kwargs))
            return module(*args, **kwargs)


def _to_meta(leaf: Any) -> Any:
    return leaf.detach().to("meta") if isinstance(leaf, Tensor) else leaf


def _to_fake(mode: FakeTensorMode, leaf: Any) -> Any:
    return mode.from_tensor(leaf) if isinstance(leaf, Tensor) else leaf


@contextlib.contextmanager
def _mode(module: nn.Module, *, training: bool) -> Iterator[None]:
    modes = {child: child.training for child in module.modules()}
    try:
        for child in modes:
            child.training = training
        yield
    finally:
        for child, mode in modes.items():
            child.training = mode
