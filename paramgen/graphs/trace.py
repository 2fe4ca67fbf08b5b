"""From a network on the meta device to its graph, without running it on data.

The forward pass runs once on fake tensors (shapes and types, no values), with every torch function on the way noted
by `paramgen.graphs.recording`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from paramgen.architectures import Inputs
from paramgen.errors import GraphError, TraceError
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
    modes = {child: child.training for child in module.modules()}
    try:
        with _quiet(), FakeTensorMode(allow_non_fake_inputs=True) as fake, torch.device("meta"), torch.no_grad():
            for child in modes:
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
    finally:
        for child, mode in modes.items():
            child.training = mode
    return recording


def _fake(mode: FakeTensorMode, leaf: Any) -> Any:
    return mode.from_tensor(leaf.to("meta")) if isinstance(leaf, Tensor) else leaf


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let torch.nn.functional's Python compositions run function by function under the recording mode."""
    functional = torch.nn.functional
    names = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    with contextlib.ExitStack() as patches:
        for name in names:
            patches.enter_context(mock.patch.object(functional, name, lambda *_: False))
        yield


def _failure(module: nn.Module, path: list[str], error: Exception) -> str:
    inside = path[-1] if path else ""
    where = f"submodule {inside!r} ({type(module.get_submodule(inside)).__name__})" if inside else "the module itself"
    reason = str(error).strip().splitlines()
    text = reason[0] if reason else ""
    return (
        f"The forward pass of {type(module).__name__} fails in {where}: {type(error).__name__}: {text}. "
        "Check it with `module(example_input)`; give the input it expects as example_input."
    )
