"""From a network on the meta device to its graph, without running it on data.

The forward pass runs once on fake tensors (shapes and types, no values), with every torch function on the way noted
by `paramgen.graphs.recording`.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._pytree import tree_map

from paramgen.architectures import Inputs
from paramgen.draws import settled_randomness
from paramgen.errors import GraphError, TraceError, one_line
from paramgen.graphs.recording import Recording, tensors_in
from paramgen.graphs.schema import Graph
from paramgen.manifest import Manifest


def trace(module: nn.Module, manifest: Manifest, inputs: Inputs) -> Graph:
    """Return the graph of `module`, which is on the meta device and comes back as it was given.

    The network is followed as it evaluates; if that leaves parameters unreached (auxiliary heads), as it trains.

    Raises:
        TraceError: The forward pass fails; the message names the submodule.
    """
    attempt = _attempt(module, manifest, inputs, training=False)
    if isinstance(attempt, Recording) and attempt.unreached():
        trained = _attempt(module, manifest, inputs, training=True)
        if isinstance(trained, Recording) and len(trained.unreached()) < len(attempt.unreached()):
            attempt = trained
    if not isinstance(attempt, Recording):
        raise attempt
    attempt.isolate()
    return Graph(tuple(attempt.nodes), attempt.edge_array(), "fake tensors")


def _attempt(module: nn.Module, manifest: Manifest, inputs: Inputs, *, training: bool) -> Recording | TraceError:
    recording = Recording(module, manifest)
    try:
        with (
            _untouched(module),
            settled_randomness(),
            _quiet(),
            FakeTensorMode(allow_non_fake_inputs=True) as fake,
            torch.device("meta"),
            torch.no_grad(),
        ):
            for child in module.modules():
                child.training = training
            args, kwargs = tree_map(lambda leaf: _fake(fake, leaf), (inputs[0], dict(inputs[1])))
            for position, tensor in enumerate(tensors_in(args)):
                recording.input(f"input_{position}", tensor)
            for name, value in kwargs.items():
                for tensor in tensors_in(value):
                    recording.input(name, tensor)
            with contextlib.ExitStack() as handles:
                for handle in recording.watch(module):
                    handles.callback(handle.remove)
                with recording:
                    outcome = module(*args, **kwargs)
        recording.output(outcome)
    except (GraphError, MemoryError):
        raise
    except Exception as error:  # a user's forward may raise anything
        return TraceError(_failure(module, recording.path, error))
    return recording


@contextlib.contextmanager
def _untouched(module: nn.Module) -> Iterator[None]:
    """Put back every attribute of every submodule: forwards count, cache tables and update buffers."""
    children = list(module.modules())
    attributes = [dict(vars(child)) for child in children]
    parameters, buffers = ([dict(getattr(child, kind)) for child in children] for kind in ("_parameters", "_buffers"))
    try:
        yield
    finally:
        for index, child in enumerate(children):
            vars(child).clear()
            vars(child).update(attributes[index])
            child._parameters.clear()
            child._parameters.update(parameters[index])
            child._buffers.clear()
            child._buffers.update(buffers[index])


def _fake(mode: FakeTensorMode, leaf: Any) -> Any:
    return mode.from_tensor(leaf.to("meta")) if isinstance(leaf, Tensor) else leaf


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let torch.nn.functional's Python compositions run function by function under the recording mode."""
    functional = torch.nn.functional
    names = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    logger = logging.getLogger("torch._subclasses.fake_tensor")  # it prints a traceback before it raises
    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(logger, "disabled", True))
        for name in names:
            patches.enter_context(mock.patch.object(functional, name, lambda *_: False))
        yield


def _failure(module: nn.Module, path: list[str], error: Exception) -> str:
    inside = path[-1] if path else ""
    where = f"submodule {inside!r} ({type(module.get_submodule(inside)).__name__})" if inside else "the module itself"
    what = f"The forward pass of {type(module).__name__} fails in {where}"
    if isinstance(error, (DataDependentOutputException, DynamicOutputShapeException)):
        return (
            f"{what}: it depends on the values of tensors ({one_line(error)}), and a trace has none. Let it depend on "
            "shapes, or on Python numbers."
        )
    return (
        f"{what}: {type(error).__name__}: {one_line(error).rstrip('.')}. "
        "Check it with `module(example_input)`; give the input it expects as example_input."
    )
