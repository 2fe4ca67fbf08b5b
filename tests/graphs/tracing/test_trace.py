"""Tracing: every way a network may use its parameters, and a network that comes back as it was."""

import logging
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from paramgen.architectures import resolve
from paramgen.architectures.module import from_module
from paramgen.errors import TraceError
from paramgen.graphs.graph_json import graph_hash
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

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        return self.run(self, *args, **kwargs)


def traced(module: nn.Module, *inputs: Tensor) -> Graph:
    architecture = from_module(module, (inputs, {}))
    twin = architecture.module
    assert twin is not None and architecture.example is not None
    modes = [child.training for child in twin.modules()]
    attributes = [dict(vars(child)) for child in twin.modules()]
    state = {name: id(tensor) for name, tensor in twin.state_dict(keep_vars=True).items()}
    graph = trace(twin, architecture.manifest, architecture.example)
    assert graph_hash(graph) == graph_hash(trace(twin, architecture.manifest, architecture.example))
    assert modes == [child.training for child in twin.modules()]
    assert attributes == [dict(vars(child)) for child in twin.modules()]
    assert state == {name: id(tensor) for name, tensor in twin.state_dict(keep_vars=True).items()}
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in twin.modules())
    return graph


def steps(graph: Graph) -> str:
    """Write the graph as `operation(slot)<sources` words, inputs and output aside."""
    sources: dict[int, list[str]] = {}
    for source, target in graph.edges.tolist():
        sources.setdefault(target, []).append(str(source))
    words = []
    for index, node in enumerate(graph.nodes):
        slot = f"({node.slot.removesuffix('.weight')})" if node.slot else ""
        layout = "'" if node.attributes.get("layout") == "in_out" else ""
        words.append(f"{node.op}{layout}{slot}<{','.join(sources.get(index, []))}".removesuffix("<"))
    return " ".join(words)


def plain(size: int = 4, out: int = 4, **options: Any) -> nn.Linear:
    return nn.Linear(size, out, bias=False, **options)


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, states: Tensor) -> Tensor:
        return self.weight * (states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + 1e-6))


@dataclass
class Output:
    logits: Tensor
    extra: list[Tensor]


def tied() -> Network:
    embed, head = nn.Embedding(9, 4), plain(4, 9)
    head.weight = embed.weight
    return Network(lambda m, x: m.head(m.embed(x)), embed=embed, head=head)


CASES: dict[str, tuple[nn.Module, tuple[Tensor, ...], str]] = {
    "residual sums, in place too": (
        Network(lambda m, x: (x + m.a(x)).add_(m.b(x)), a=plain(), b=plain()),
        (FLOATS,),
        "input linear(a)<0 sum<0,1 linear(b)<0 sum<2,3 output<4",
    ),
    "one node per use of a tied weight": (
        tied(),
        (torch.zeros(2, 5, dtype=torch.long),),
        "input embedding(embed)<0 linear(embed)<1 output<2",
    ),
    "a module used twice": (
        Network(lambda m, x: m.a(m.a(x).tanh()), a=plain()),
        (FLOATS,),
        "input linear(a)<0 tanh<1 linear(a)<2 output<3",
    ),
    "a written-out norm": (
        Network(lambda m, x: m.a(m.n(x)), a=plain(), n=RMSNorm(4)),
        (FLOATS,),
        "input rms_norm(n)<0 linear(a)<1 output<2",
    ),
    "functional weights": (
        Network(lambda m, x: x @ m.w + m.b, w=nn.Parameter(torch.ones(4, 5)), b=nn.Parameter(torch.ones(5))),
        (FLOATS,),
        "input linear'(w)<0 bias(b)<1 output<2",
    ),
    "a weight that is transposed and scaled first": (
        Network(lambda m, x: F.linear(x, m.w.t().contiguous() * 0.1), w=nn.Parameter(torch.ones(4, 5))),
        (FLOATS,),
        "input linear'(w)<0 output<1",
    ),
    "einsum": (
        Network(lambda m, x: torch.einsum("bi,io->bo", x, m.w), w=nn.Parameter(torch.ones(4, 5))),
        (FLOATS,),
        "input parameter(w) matmul<0,1 output<2",
    ),
    "class token, position table, layer scale": (
        Network(
            lambda m, x: m.scale * m.a(torch.cat([m.token.expand(2, -1, -1), x], 1) + m.table),
            a=plain(),
            token=nn.Parameter(torch.ones(1, 1, 4)),
            table=nn.Parameter(torch.ones(1, 4, 4)),
            scale=nn.Parameter(torch.ones(4)),
        ),
        (torch.zeros(2, 3, 4),),
        "input parameter(token) concat<0,1 parameter(table) sum<2,3 linear(a)<4 parameter(scale) multiply<5,6 output<7",
    ),
    "squeeze and excite": (
        Network(lambda m, x: x * m.a(x.mean((2, 3), keepdim=True)).sigmoid(), a=nn.Conv2d(4, 4, 1, bias=False)),
        (torch.zeros(2, 4, 3, 3),),
        "input mean<0 conv(a)<1 sigmoid<2 multiply<0,3 output<4",
    ),
    "convolutions of every kind": (
        nn.Sequential(
            nn.Conv1d(3, 4, 3, bias=False),
            nn.GroupNorm(2, 4),
            nn.ConvTranspose1d(4, 2, 3, bias=False),
            nn.Conv1d(2, 2, 3, groups=2, bias=False),
            nn.Conv1d(2, 2, 3, dilation=2, bias=False),
        ),
        (torch.zeros(2, 3, 12),),
        "input conv(0)<0 group_norm(1)<1 bias(1.bias)<2 transposed_conv(2)<3 depthwise_conv(3)<4 dilated_conv(4)<5 "
        "output<6",
    ),
    "a three-dimensional convolution and a pool": (
        nn.Sequential(nn.Conv3d(3, 4, 3, bias=False), nn.AdaptiveAvgPool3d(1)),
        (torch.zeros(2, 3, 5, 5, 5),),
        "input conv(0)<0 mean<1 output<2",
    ),
    "recurrent layers": (
        Network(lambda m, x: m.g(x)[0], g=nn.GRU(4, 3, batch_first=True, bias=False)),
        (torch.zeros(2, 5, 4),),
        "input recurrent(g.weight_ih_l0)<0 recurrent(g.weight_hh_l0)<1 output<2",
    ),
    "attention": (
        Network(lambda m, x: m.a(x, x, x, need_weights=False)[0], a=nn.MultiheadAttention(4, 2, bias=False)),
        (torch.zeros(2, 5, 4),),
        "input linear(a.in_proj_weight)<0 attention<1 linear(a.out_proj)<2 output<3",
    ),
    "an encoder layer without its fast path": (
        nn.TransformerEncoderLayer(4, 2, 8, bias=False),
        (torch.zeros(5, 2, 4),),
        "input linear(self_attn.in_proj_weight)<0 attention<1 linear(self_attn.out_proj)<2 sum<0,3 "
        "layer_norm(norm1)<4 linear(linear1)<5 relu<6 linear(linear2)<7 sum<5,8 layer_norm(norm2)<9 output<10",
    ),
    "checkpointed modules": (
        Network(
            lambda m, x: checkpoint(m.b, checkpoint(m.a, x, use_reentrant=False), use_reentrant=False),
            a=plain(),
            b=plain(),
        ),
        (FLOATS,),
        "input linear(a)<0 linear(b)<1 output<2",
    ),
    "dataclasses and dicts as outputs": (
        Network(lambda m, x: {"out": Output(m.a(x), [m.b(x)]), "count": 3}, a=plain(), b=plain()),
        (FLOATS,),
        "input linear(a)<0 linear(b)<0 output<1,2",
    ),
    "several inputs": (
        Network(lambda m, x, y: m.a(x) * m.a(y), a=plain()),
        (FLOATS, FLOATS),
        "input input linear(a)<0 linear(a)<1 multiply<2,3 output<4",
    ),
    "auxiliary heads, which only training reaches": (
        Network(
            lambda m, x: (m.d(m.a(x)), m.aux(x)) if m.training else m.a(x), a=plain(), aux=plain(), d=nn.Dropout(0.5)
        ).eval(),
        (FLOATS,),
        "input linear(a)<0 linear(aux)<0 output<1,2",
    ),
    "parameters that nothing reaches": (
        Network(lambda m, x: m.a(x), a=plain(), unused=plain()),
        (FLOATS,),
        "input linear(a)<0 output<1 parameter(unused)",
    ),
    "assignment into a slice": (
        Network(lambda m, x: assign(m.a(x), m.b(x)), a=plain(), b=plain(4, 2)),
        (FLOATS,),
        "input linear(a)<0 linear(b)<0 other<1,2 output<3",
    ),
    "constants that stay on the CPU": (
        Network(lambda m, x: m.a(x) + m.c + torch.arange(4.0, device="cpu"), a=plain(), c=torch.ones(4)),
        (FLOATS,),
        "input linear(a)<0 output<1",
    ),
    "half precision": (
        Network(lambda m, x: m.a(x.bfloat16()), a=plain(dtype=torch.bfloat16)),
        (FLOATS,),
        "input linear(a)<0 output<1",
    ),
}


def assign(states: Tensor, part: Tensor) -> Tensor:
    states[:, :2] = part
    return states


@pytest.mark.parametrize("case", CASES)
def test_draws_what_the_network_does(case: str) -> None:
    module, inputs, expected = CASES[case]
    assert steps(traced(module, *inputs)) == expected


def test_names_the_parameters_that_nothing_reaches() -> None:
    module, inputs, _ = CASES["parameters that nothing reaches"]
    assert traced(module, *inputs).unreachable() == ["unused.weight"]


class Busy(nn.Module):
    """Counts its calls, caches a table, replaces a buffer, and has a head for training only."""

    mean: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.aux, self.norm = plain(), plain(), nn.BatchNorm1d(4)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("count", torch.zeros(()))
        self.calls = 0

    def forward(self, states: Tensor) -> Any:
        self.calls += 1
        self.count += 1
        self.mean = self.mean * 0.9 + states.mean(0)
        if not hasattr(self, "table"):
            self.table = states.new_ones(4)
        states = self.norm(self.layer(states)) * self.table
        return (states, self.aux(states)) if self.training else states


def test_a_forward_that_changes_its_module_leaves_no_trace() -> None:
    graph = traced(Busy(), FLOATS)  # in both modes, one after the other
    assert "linear(aux)" in steps(graph)


def test_random_branches_are_the_same_each_time_and_leave_the_state_alone() -> None:
    def forward(module: Any, states: Tensor) -> Tensor:
        for layer in module.layers:
            if random.random() < 0.5 or np.random.rand() < 0.2:
                states = layer(states)
        return states

    module = Network(forward, layers=nn.ModuleList(plain() for _ in range(8)))
    before = np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state().tolist()
    first = graph_hash(traced(module, FLOATS))
    assert before == (np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state().tolist())
    random.random(), np.random.rand()
    assert graph_hash(traced(module, FLOATS)) == first


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(5, 4))),
            r"in submodule '1.0' \(Linear\): RuntimeError",
        ),
        (Network(lambda m, x: m.a(x[:, :3]), a=plain()), r"in submodule 'a' \(Linear\)"),
        (Network(lambda m, x: 1 / 0, a=plain()), r"in the module itself: ZeroDivisionError"),
        (Network(lambda m, x: m.forward(x), a=plain()), r"RecursionError"),
        (Network(lambda m, x: m.a(x) if x.sum() > 0 else x, a=plain()), r"depends on the values of tensors"),
        (Network(lambda m, x: m.a(x[x.sum(1) > 0]), a=plain()), r"depends on the values of tensors"),
    ],
)
def test_a_failure_names_the_submodule_in_one_line(
    module: nn.Module, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[logging.LogRecord] = []
    logger = logging.getLogger("torch._subclasses.fake_tensor")

    def noted(record: logging.LogRecord) -> bool:
        logged.append(record)
        return False

    monkeypatch.setattr(logger, "filters", [noted])
    architecture = from_module(module, ((FLOATS,), {}))
    assert architecture.module is not None and architecture.example is not None
    with pytest.raises(TraceError, match=message) as caught:
        trace(architecture.module, architecture.manifest, architecture.example)
    assert "\n" not in str(caught.value)
    assert not any(child._forward_pre_hooks for child in architecture.module.modules())
    assert logged == []  # torch would print a traceback


@pytest.mark.slow
def test_googlenet_is_covered_with_its_auxiliary_heads() -> None:
    architecture = resolve("torchvision:googlenet", {"num_classes": 3})
    assert architecture.module is not None and architecture.example is not None
    assert not trace(architecture.module, architecture.manifest, architecture.example).unreachable()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "arch",
    [
        "torchvision:mc3_18",
        "torchvision:raft_small",
        "diffusers:AutoencoderKLWan",
        "diffusers:AutoencoderOobleck",
        "diffusers:CogVideoXTransformer3DModel?num_layers=1",
        "diffusers:FluxTransformer2DModel?num_layers=1&num_single_layers=1",
        "diffusers:LTXVideoTransformer3DModel?num_layers=1",
        "diffusers:QwenImageTransformer2DModel?num_layers=2",
        "diffusers:SanaTransformer2DModel?num_layers=1",
        "diffusers:SD3Transformer2DModel?num_layers=2",
        "diffusers:ZImageTransformer2DModel?n_layers=1",
        "transformers:TimesformerModel?num_hidden_layers=1",
        "transformers:GPTJForSequenceClassification?n_layer=1",
    ],
)
def test_networks_of_clips_pairs_and_texts_get_inputs_that_reach_all(arch: str) -> None:
    architecture = resolve(arch)
    assert architecture.module is not None and architecture.example is not None
    assert not trace(architecture.module, architecture.manifest, architecture.example).unreachable()


@pytest.mark.slow
def test_another_process_and_hash_seed_make_the_same_graph() -> None:
    program = (
        "from paramgen.architectures import resolve\n"
        "from paramgen.graphs.tracing.trace import trace\n"
        "from paramgen.graphs.graph_json import graph_hash\n"
        "a = resolve('densenet121')\n"
        "print(graph_hash(trace(a.module, a.manifest, a.example)))"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "PATH": ""},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1
