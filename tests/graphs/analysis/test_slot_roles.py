"""The table of roles: every parameter of a network has one, and unknown ones are said to be unknown."""

import numpy as np
import torch
from torch import Tensor, nn

from paramgen.graphs.analysis.slot_roles import SLOT_ROLES, elements_by_role, role_of
from paramgen.graphs.ops import VOCABULARY
from paramgen.graphs.schema import Graph, Node
from paramgen.prediction import describe
from paramgen.slots.manifest import read_manifest


class Everything(nn.Module):
    """A parameter in most of the roles."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.positions, self.token = nn.Parameter(torch.zeros(1, 5, 6)), nn.Parameter(torch.zeros(1, 1, 6))
        self.filter, self.memory = nn.Conv1d(6, 6, 3, padding=1, groups=6, bias=False), nn.GRU(6, 6, bias=False)
        self.norm, self.map, self.gate = nn.LayerNorm(6), nn.Linear(6, 4), nn.Parameter(torch.ones(4))
        self.experts, self.unused = nn.Parameter(torch.zeros(2, 4, 3)), nn.Parameter(torch.zeros(7))
        self.register_buffer("count", torch.zeros(2))

    def forward(self, ids: Tensor) -> Tensor:
        states = self.embed(ids) + self.positions
        states = torch.cat([self.token.expand(2, -1, -1), states], 1)
        states = self.memory(self.filter(states.mT).mT)[0]
        return torch.bmm(self.gate * self.map(self.norm(states)), self.experts)


def test_every_parameter_has_its_role() -> None:
    ids = torch.zeros(2, 5, dtype=torch.long)
    architecture, graph = describe(Everything(), example_input=((ids,), {}))
    assert elements_by_role(graph, architecture.manifest) == {
        "recurrent matrix": 216,
        "embedding": 66,
        "position table": 30,
        "weight of a linear map": 24,
        "stacked linear maps": 24,
        "depthwise filter": 18,
        "bias": 10,
        "unknown": 7,
        "token": 6,
        "norm scale": 6,
        "gate": 4,
        "buffer": 2,
    }


def test_rows_are_of_the_vocabulary_and_can_be_met() -> None:
    for role in SLOT_ROLES:
        assert role.operations <= set(VOCABULARY) and role.enters <= set(VOCABULARY)
        shape = (2,) * role.dimensions[0]
        found = {role_of(Node(op=op, name="", slot="", shape=shape), tuple(role.enters)) for op in role.operations}
        assert role in found


def test_what_no_row_fits_has_no_role() -> None:
    assert role_of(Node(op="linear", name="", slot="", shape=(2,) * 5)) is None
    assert role_of(Node(op="parameter", name="", slot="", shape=(2, 2)), ("softmax",)) is None
    module = nn.Linear(2, 2)
    alone = Graph((Node(op="input", name="input"),), np.empty((0, 2), dtype=np.int64), "nothing")
    assert elements_by_role(alone, read_manifest(module, {})) == {"unknown": 6}
