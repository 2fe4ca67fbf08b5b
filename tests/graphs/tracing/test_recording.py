"""Which module is running: also where one raises an error that another catches."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paramgen.architectures.module import from_module
from paramgen.errors import TraceError
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.trace import trace

FLOATS = torch.zeros(2, 4)


class Network(nn.Module):
    """Named layers and a function of them."""

    def __init__(self, run: Callable[..., Any], **layers: Any) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, states: Tensor) -> Any:
        return self.run(self, states)


def traced(module: nn.Module) -> Graph:
    architecture = from_module(module, ((FLOATS,), {}))
    assert architecture.module is not None and architecture.example is not None
    return trace(architecture.module, architecture.manifest, architecture.example)


def test_an_error_that_a_forward_pass_catches_leaves_no_path_behind() -> None:
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Network(lambda self, states: states.nothing)

        def forward(self, states: Tensor) -> Tensor:
            return self.inner(states)

    def run(self: Any, states: Tensor) -> Tensor:
        try:
            states = self.picky(states)
        except AttributeError:
            states = self.second(states.erf() * self.scale)
        return states.erf() * self.scale

    second = Network(lambda self, states: states.erf() * self.scale, scale=nn.Parameter(torch.ones(4)))
    graph = traced(Network(run, picky=Picky(), second=second, scale=nn.Parameter(torch.ones(4))))
    assert [node.name for node in graph.nodes if node.op == "multiply"] == ["/mul", "second/mul", "/mul"]


def test_an_error_is_of_the_module_that_it_left_first() -> None:
    def failing(self: Network, states: Tensor) -> Tensor:
        raise ValueError("first")

    def run(self: Any, states: Tensor) -> Tensor:
        try:
            self.left(states)
        except ValueError as error:
            if self.wraps:
                raise KeyError("second") from error
        self.right(states)
        return states

    for wraps, place in ((True, "left.inner"), (False, "right")):
        left = Network(lambda self, states: self.inner(states), inner=Network(failing))
        module = Network(run, left=left, right=Network(failing), wraps=wraps)
        with pytest.raises(TraceError, match=f"fails in submodule '{place}'"):
            traced(module)
