"""Trace a network: return its graph, usually without running it on data.

The forward pass runs once, on fake tensors (shapes and types, no values) or what else `backends` knows, with every
torch function that runs noted by `recording`.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Final
from unittest import mock

import torch
from torch import nn

from paramgen.architectures import Inputs
from paramgen.errors import EndlessError, GraphError, MisfitError, TraceError, one_line
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.backends import TRACING_BACKENDS, TracingBackend
from paramgen.graphs.tracing.recording import Recording, tensors_in
from paramgen.graphs.tracing.time_limit import MAX_SECONDS, TimeUp, time_limit
from paramgen.slots.determinism import Shared, undisturbed
from paramgen.slots.manifest import Manifest
from paramgen.slots.torch_internals import (
    FAKE_TENSOR_LOGGER,
    DataDependentOutputException,
    DynamicOutputShapeException,
    entries_of,
)

_AT_INPUTS: Final = (RuntimeError, TypeError, ValueError, LookupError, AssertionError)  # what a wrong input leads to


def trace(
    module: nn.Module,
    manifest: Manifest,
    inputs: Inputs,
    *,
    backend: TracingBackend = "fake tensors",
    seconds: float = MAX_SECONDS,
) -> Graph:
    """Return the graph of `module`, which comes back as it was given.

    The network is followed as it evaluates; if that leaves parameters unreached (auxiliary heads), as it trains.

    Args:
        module: On the meta device; with values for `real tensors`.
        manifest: Its slots.
        inputs: What its forward pass takes.
        backend: What it is run on.
        seconds: After so long it is ended.

    Raises:
        TraceError: The forward pass fails; the message names the submodule.
        EndlessError: It does not return in time.
    """
    attempt = _attempt(module, manifest, inputs, backend, seconds, training=False)
    if isinstance(attempt, Recording) and attempt.unreached():
        trained = _attempt(module, manifest, inputs, backend, seconds, training=True)
        if isinstance(trained, Recording) and len(trained.unreached()) < len(attempt.unreached()):
            attempt = trained
    if not isinstance(attempt, Recording):
        raise attempt
    attempt.isolate()
    return Graph(tuple(attempt.nodes), attempt.edge_array(), backend)


@undisturbed
def _attempt(
    module: nn.Module, manifest: Manifest, inputs: Inputs, backend: TracingBackend, seconds: float, *, training: bool
) -> Recording | TraceError:
    recording: Recording | None = None

    def inside(error: BaseException | None = None) -> str:
        return "" if recording is None else recording.where(error)

    try:
        with _untouched(module), _quiet(), TRACING_BACKENDS[backend](module) as prepare, torch.no_grad():
            recording = Recording(module, manifest, device="meta" if backend == "fake tensors" else "cpu")
            for child in module.modules():
                child.training = training
            args, kwargs = prepare(inputs)
            for position, tensor in enumerate(tensors_in(args)):
                recording.input(f"input_{position}", tensor)
            for name, value in kwargs.items():
                for tensor in tensors_in(value):
                    recording.input(name, tensor)
            with contextlib.ExitStack() as handles:
                for handle in recording.watch(module):
                    handles.callback(handle.remove)
                with recording, time_limit(seconds):
                    outcome = module(*args, **kwargs)
        recording.output(outcome)
    except (GraphError, MemoryError):
        raise
    except TimeUp:
        return EndlessError(
            f"{_where(module, inside())} it did not return within {seconds:g} s. If it needs longer, type: "
            f"--trace-timeout {10 * seconds:g}"
        )
    except (Exception, SystemExit) as error:  # a user's forward may raise anything
        return _failure(module, inside(error), error)
    return recording


@contextlib.contextmanager
def _untouched(module: nn.Module) -> Iterator[None]:
    """Put back every attribute of every submodule: forwards count, cache tables and update buffers."""
    children = list(module.modules())
    attributes = [dict(vars(child)) for child in children]
    entries = [[dict(held) for held in entries_of(child)] for child in children]
    try:
        yield
    finally:
        for index, child in enumerate(children):
            vars(child).clear()
            vars(child).update(attributes[index])
            for held, before in zip(entries_of(child), entries[index], strict=True):
                held.clear()
                held.update(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let torch.nn.functional's Python compositions run function by function under the recording mode."""
    before = getattr(_FOLLOWED, "here", False)
    with _PATCHED:
        _FOLLOWED.here = True
        try:
            yield
        finally:
            _FOLLOWED.here = before


@contextlib.contextmanager
def _patched() -> Iterator[None]:
    """Have torch's functions believe, in threads that follow a forward pass, that nobody overrides them."""
    functional = torch.nn.functional
    names = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    logger = logging.getLogger(FAKE_TENSOR_LOGGER)  # it prints a traceback before it raises
    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(logger, "disabled", True))
        for name in names:
            patches.enter_context(mock.patch.object(functional, name, _unless_followed(getattr(functional, name))))
        yield


def _unless_followed(overridden: Callable[..., bool]) -> Callable[..., bool]:
    return lambda *given: not getattr(_FOLLOWED, "here", False) and overridden(*given)


_FOLLOWED: Final = threading.local()
_PATCHED: Final = Shared(_patched)


def _where(module: nn.Module, inside: str) -> str:
    where = f"submodule {inside!r} ({type(module.get_submodule(inside)).__name__})" if inside else "the module itself"
    return f"The forward pass of {type(module).__name__} fails in {where}:"


def _failure(module: nn.Module, inside: str, error: BaseException) -> TraceError:
    if isinstance(error, (DataDependentOutputException, DynamicOutputShapeException)):
        return TraceError(
            f"{_where(module, inside)} it depends on the values of tensors ({one_line(error)}), and a trace has none. "
            "Let it depend on shapes, or on Python numbers."
        )
    misfit = isinstance(error, _AT_INPUTS) and not isinstance(error, NotImplementedError)
    return (MisfitError if misfit else TraceError)(
        f"{_where(module, inside)} {type(error).__name__}: {one_line(error).rstrip('.')}. "
        "Give the input that it takes: --example-input 2x3x32x32 (a shape, `:long` for indices) or --example-input "
        "file.py:function"
    )
