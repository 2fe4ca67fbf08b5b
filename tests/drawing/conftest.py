from collections.abc import Callable

import numpy as np
import pytest

from paramgen.graphs.schema import Graph, Node

Residual = Callable[..., Graph]


@pytest.fixture
def chain() -> Callable[..., Graph]:
    """Nodes in a row, plus further edges."""

    def build(nodes: list[Node], more: tuple[tuple[int, int], ...] = ()) -> Graph:
        edges = {(at, at + 1) for at in range(len(nodes) - 1)} | set(more)
        return Graph(tuple(nodes), np.array(sorted(edges), dtype=np.int64).reshape(-1, 2), "a test")

    return build


@pytest.fixture
def residual() -> Residual:
    """A stack of two-convolution residual blocks, as in a small ResNet."""

    def build(blocks: int, prefix: str = "layer1") -> Graph:
        nodes = [Node(op="input", name="input_0", shape=(1, 3, 32, 32))]
        nodes.append(Node(op="conv", name="stem.weight", slot="stem.weight", shape=(16, 3, 3, 3)))
        edges = [(0, 1)]
        for block in range(blocks):
            start, path = len(nodes) - 1, f"{prefix}.{block}"
            for number in (1, 2):
                conv, norm = f"{path}.conv{number}.weight", f"{path}.bn{number}"
                nodes.append(
                    Node(
                        op="conv",
                        name=conv,
                        slot=conv,
                        shape=(16, 16, 3, 3),
                        attributes={"kernel": (3, 3), "stride": (2, 2)},
                    )
                )
                nodes.append(Node(op="batch_norm", name=f"{norm}.weight", slot=f"{norm}.weight", shape=(16,)))
                nodes.append(Node(op="bias", name=f"{norm}.bias", slot=f"{norm}.bias", shape=(16,)))
                nodes.append(Node(op="relu" if number == 1 else "sum", name=f"{path}/f{number}", shape=(1, 16, 8, 8)))
                edges += [(at - 1, at) for at in range(len(nodes) - 4, len(nodes))]
            edges.append((start, len(nodes) - 1))
        nodes.append(Node(op="linear", name="fc.weight", slot="fc.weight", shape=(10, 16)))
        nodes.append(Node(op="bias", name="fc.bias", slot="fc.bias", shape=(10,)))
        nodes.append(Node(op="output", name="output"))
        edges += [(at - 1, at) for at in range(len(nodes) - 3, len(nodes))]
        return Graph(tuple(nodes), np.array(sorted(set(edges)), dtype=np.int64), "a test")

    return build
